"""Owns the reads of credits through a console: pages of them, and one, each with what is left of it."""

from typing import Any

from ledger.rules.act_rows import Credit
from ledger.rules.grants import Grant
from ledger.rules.missing import missing
from ledger.rules.money.posting import credit_row
from ledger.rules.rows import playground_id, wallet_id
from ledger.store.base import Store
from ledger.verbs.admin.base import Reading, Where, bound, newest, one
from ledger.verbs.admin.keys import visible
from ledger.verbs.base import Services
from ledger.verbs.money import left_of
from schemas.admin import reads
from schemas.admin.reads import CreditRef, CreditsQuery
from schemas.verbs.base import Rows

_OF_ORGANIZATION = (
    "(r.account_id = {} OR r.account_id = {} "
    "OR r.account_id IN (SELECT account_id FROM api_keys WHERE profile = {}))"
)
# SQLite would sort all credits of however many keys. With a `+` it walks them by time, and has a page of a large
# organisation at once.
_BY_TIME = _OF_ORGANIZATION.replace("r.account_id", "+r.account_id")
MANY_KEYS = 1_000
_KEYS_SQL = f"SELECT COUNT(*) FROM (SELECT 1 FROM api_keys WHERE profile = $1 LIMIT {MANY_KEYS}) AS found"  # noqa: S608  our own number
_OWNER_SQL = "SELECT id, profile FROM api_keys WHERE account_id = $1 LIMIT 1"


async def shown(store: Store, credits_: list[Credit]) -> tuple[dict[str, Any], ...]:
    """Credits as the console shows them, whose balance it was in words, and what is left of each."""
    lots = {one.account_id for one in credits_ if one.lot_nano}
    left = await left_of(store, lots) if lots else {}
    return tuple(
        credit_row(one)
        | {"object": "credit"}
        | ({"remaining_nano": left.get(one.id, 0)} if one.lot_nano else {})
        for one in credits_
    )


async def _bound(store: Store, where: Where, organization: str) -> None:
    keys = int((await store.fetch(_KEYS_SQL, organization))[0][0])
    condition = _BY_TIME if keys == MANY_KEYS and store.dialect == "sqlite" else _OF_ORGANIZATION
    where.add(condition, wallet_id(organization), playground_id(organization), organization)


async def _credits(services: Services, grant: Grant, query: CreditsQuery) -> Rows:
    organization = bound(grant, query.organization)
    if organization is None:
        return Rows()
    where = Where()
    if organization:
        await _bound(services.store, where, organization)
    if query.key:
        key = await visible(services.store, grant, query.key)
        where.add("r.account_id = {}", "" if key is None else key.account_id)
    if query.kind:
        where.add("r.kind = {}", query.kind)
    found = await newest(services.store, Credit, where, limit=query.limit, after=query.after)
    if isinstance(found, Rows):
        return found
    return Rows(await shown(services.store, found[0]), cursor=found[1])


async def organization_of(store: Store, account_id: str) -> str:
    """The organisation whose money an account has; "" for one of ours."""
    kind, _, id_ = account_id.partition(":")
    if kind in ("org", "playground"):
        return id_
    rows = await store.fetch(_OWNER_SQL, account_id)
    return str(rows[0][1]) if rows else ""


async def _credit(services: Services, grant: Grant, form: CreditRef) -> Rows:
    credit = await one(services.store, Credit, form.id)
    owner = "" if credit is None else await organization_of(services.store, credit.account_id)
    if grant.organization not in ("", owner):
        credit = None
    return missing("such credit") if credit is None else Rows(await shown(services.store, [credit]))


CREDITS = Reading(question=reads.CREDITS, answer=_credits)
CREDIT = Reading(question=reads.CREDIT, answer=_credit)
