"""Owns the lines that say that an upstream account's state has changed: one for each change."""

from collections.abc import Iterable

from runtime.bounded import Warnings
from runtime.log import get_logger
from schemas.bus.frames import AccountState
from workers.calls.accounts import Account

_changed = Warnings(get_logger("workers.accounts"), "an upstream account's state has changed")


class States:
    """What was said of the accounts of one pool."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._said: dict[str, AccountState] = {}

    def look(self, accounts: Iterable[Account], now: float) -> None:
        """Says what has changed since the last look; to be called several times a second."""
        for account in accounts:
            name = account.settings.id
            state, reason = account.told(now)
            was = self._said.get(name, AccountState.OK)
            if state is was:
                continue
            self._said[name] = state
            _changed.say(
                f"{self._pool}/{name}", pool=self._pool, account=name, state=state, was=was, reason=reason
            )
