"""Owns the second look at credentials that an upstream has refused: by now the account may have others."""

import asyncio

from workers.calls import doors
from workers.calls.accounts import Account, Accounts


async def renewed(accounts: Accounts, account: Account) -> bool:
    """Whether an account has other credentials than those that were refused: of a reload, or of their files."""
    if account.heir is None and account.settings.files:
        found = await asyncio.to_thread(doors.reread, account.settings)
        if found is not None:
            accounts.replace(account, found)
    return account.heir is not None
