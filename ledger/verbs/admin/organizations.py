"""Owns the reads of organisations through a console: pages of them, and one."""

from typing import Any

from ledger.rules.grants import Grant
from ledger.rules.keys import balance
from ledger.rules.missing import missing
from ledger.rules.organizations import organization_row
from ledger.rules.rows import Account, Profile, account_kind, playground_id, row_of, wallet_id
from ledger.store.base import Store
from ledger.verbs.admin.base import Reading, Where, newest, one, selected
from ledger.verbs.base import Services
from ledger.verbs.keys import pattern
from schemas.admin import reads
from schemas.admin.reads import OrganizationsQuery
from schemas.verbs.base import Rows
from schemas.verbs.organizations import OrganizationRef

_ACCOUNTS_SQL = f"SELECT {selected(Account, 'r')} FROM accounts AS r WHERE r.id "  # noqa: S608  made of our own column names


def _empty(account_id: str) -> Account:
    return Account(id=account_id, kind=account_kind(account_id), posted_nano=0, held_nano=0)


async def shown(store: Store, profiles: list[Profile]) -> tuple[dict[str, Any], ...]:
    """Organisations as the console shows them, with the balances of wallet and playground."""
    named = {name(one.id) for one in profiles for name in (wallet_id, playground_id)}
    rows = await store.fetch(_ACCOUNTS_SQL + store.among, store.array(named))
    accounts = {row[0]: row_of(Account, row) for row in rows}

    def of(id_: str) -> Account:
        return accounts.get(id_) or _empty(id_)

    return tuple(
        organization_row(profile, of(wallet_id(profile.id)))
        | {"object": "organization", "playground": balance(of(playground_id(profile.id)))}
        for profile in profiles
    )


async def _organizations(services: Services, grant: Grant, query: OrganizationsQuery) -> Rows:
    where = Where()
    if grant.organization:
        where.add("r.id = {}", grant.organization)
    if query.status:
        where.add("r.status = {}", query.status)
    if query.name:
        like = pattern(query.name)
        where.add("(LOWER(r.name) LIKE {} ESCAPE '\\' OR LOWER(r.id) LIKE {} ESCAPE '\\')", like, like)
    found = await newest(services.store, Profile, where, limit=query.limit, after=query.after)
    if isinstance(found, Rows):
        return found
    return Rows(await shown(services.store, found[0]), cursor=found[1])


async def _organization(services: Services, grant: Grant, form: OrganizationRef) -> Rows:
    profile = None if grant.organization not in ("", form.id) else await one(services.store, Profile, form.id)
    return missing("such organisation") if profile is None else Rows(await shown(services.store, [profile]))


ORGANIZATIONS = Reading(question=reads.ORGANIZATIONS, answer=_organizations, kind="organization")
ORGANIZATION = Reading(question=reads.ORGANIZATION, answer=_organization, kind="organization")
