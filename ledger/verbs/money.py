"""Owns the answers about credits: pages of them, each with what is left of it."""

from typing import Any

from ledger.rules.act_rows import Credit
from ledger.rules.missing import missing
from ledger.rules.money import lots
from ledger.rules.money.posting import credit_row
from ledger.rules.rows import Account, Key, playground_id, row_of
from ledger.store.base import Reader
from ledger.store.statements import ACCOUNTS, KEYS, columns
from ledger.store.statements import CREDITS as TABLE
from ledger.verbs.base import Read, Services
from schemas.verbs import money as verbs
from schemas.verbs.base import Rows
from schemas.verbs.money import CreditsQuery

PAGE_MAX = 200  # rows, so that a page fits one message of the bus
_SELECT = f"SELECT {columns(TABLE)} FROM credits WHERE "  # noqa: S608  made of our own column names
_PAGE_SQL = (
    f"{_SELECT} (created_ms < $1 OR (created_ms = $1 AND id < $2)) AND ($3 = '' OR account_id = $3) "
    "AND ($4 = '' OR kind = $4) ORDER BY created_ms DESC, id DESC LIMIT $5"
)
_ACCOUNTS_SQL = f"SELECT {columns(ACCOUNTS)} FROM accounts WHERE lots_nano > 0 AND id "  # noqa: S608  as above
_KEY_SQL = f"SELECT {columns(KEYS)} FROM api_keys WHERE id = $1"  # noqa: S608  as above


async def credits_page(reader: Reader, query: CreditsQuery) -> Rows:
    """A page of credits, newest first."""
    limit = min(max(query.limit, 1), PAGE_MAX)
    account_id = await _account_of(reader, query.owner)
    if isinstance(account_id, Rows):
        return account_id
    ms, _, id_ = query.before.partition(":")
    before_ms = int(ms) if ms.isdecimal() else 2**62
    rows = await reader.fetch(_PAGE_SQL, before_ms, id_, account_id, query.kind, limit)
    page = [row_of(Credit, row) for row in rows]
    left = await left_of(reader, {one.account_id for one in page if one.lot_nano})
    last = page[-1] if len(page) == limit else None
    return Rows(
        tuple(credit_row(one) | _remaining(one, left) for one in page),
        cursor=f"{last.created_ms}:{last.id}" if last is not None else "",
    )


def _remaining(one: Credit, left: dict[str, int]) -> dict[str, Any]:
    return {"remaining_nano": left.get(one.id, 0)} if one.lot_nano else {}


async def _account_of(reader: Reader, owner: str) -> str | Rows:
    """The account of an owner, "" for all, or the answer when there is none."""
    kind, _, id_ = owner.partition(":")
    if kind == "key":
        rows = await reader.fetch(_KEY_SQL, id_)
        return row_of(Key, rows[0]).account_id if rows else missing(f"key {id_}")
    return playground_id(id_) if kind == "playground" else owner


async def left_of(reader: Reader, account_ids: set[str]) -> dict[str, int]:
    """What is left of each lot of some accounts, by the credit's id."""
    found: dict[str, int] = {}
    for row in await reader.fetch(_ACCOUNTS_SQL + reader.among, reader.array(account_ids)):
        account = row_of(Account, row)
        rows = await reader.fetch(f"{_SELECT} account_id = $1 AND lot_nano > 0", account.id)
        of = sorted((row_of(Credit, one) for one in rows), key=lots.order)
        found |= {lot.id: nano for lot, nano in lots.settled(of, account.lots_nano)}
    return found


async def _credits(services: Services, request: CreditsQuery) -> Rows:
    async with services.store.snapshot() as snapshot:
        return await credits_page(snapshot, request)


CREDITS = Read(verb=verbs.CREDITS, answer=_credits)
