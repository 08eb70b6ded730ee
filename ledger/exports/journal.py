"""Owns pages of the journal: transfers by their key, each with the organisation and the key that it is about."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ledger.exports.asked import SCANNED, Asked, Page, Size
from ledger.store.base import Reader
from schemas.verbs.exports import PAGE_ROWS

START: Final = ("", "", 0, 0)
_UPPER_SQL: Final = (
    "SELECT request_id FROM transfers WHERE request_id > $1 ORDER BY request_id LIMIT 1 OFFSET $2"
)
_AFTER: Final = "(t.request_id, t.kind, t.attempt, t.line) > ($1, $2, $3, $4)"
_PAGE_SQL: Final = (
    "SELECT t.created_ms, t.request_id, t.kind, t.attempt, t.line, t.debit, t.credit, t.amount_nano "  # noqa: S608  made of our own words
    f"FROM transfers t WHERE {_AFTER} AND ($5 = '' OR t.request_id < $5) AND t.created_ms >= $6 "
    "AND t.created_ms < $7 ORDER BY t.request_id, t.kind, t.attempt, t.line LIMIT $8"
)
_OURS: Final = ("key:", "org:", "playground:")


async def upper(reader: Reader, after: str) -> str:
    """The request id before which one page ends, "" for all that is left."""
    rows = await reader.fetch(_UPPER_SQL, after, SCANNED)
    return str(rows[0][0]) if rows else ""


async def page(reader: Reader, asked: Asked, place: Sequence[str | int]) -> Page:
    """A page of transfers."""
    place = place or START
    bound = await upper(reader, str(place[0]))
    found = await reader.fetch(_PAGE_SQL, *place, bound, asked.since_ms, asked.until_ms, PAGE_ROWS)
    of = await _owners(reader, found)
    size, rows, last = Size(), list[list[Any]](), None
    for transfer in found:
        row = [*transfer, *of.about(transfer)]
        if not size.takes([row]):
            return Page(rows, last)
        last = tuple(transfer[1:5])
        if not asked.organization or of.touches(transfer, asked.organization):
            rows.append(row)
    if len(found) == PAGE_ROWS:
        return Page(rows, last)
    return Page(rows, (bound, *START[1:]) if bound else None)


class _Owners:
    """Whose accounts and calls the transfers of a page are."""

    def __init__(self, calls: dict[str, str], organizations: dict[str, str]) -> None:
        self._calls = calls
        self._organizations = organizations  # by key

    def about(self, transfer: Sequence[Any]) -> tuple[str, str]:
        """The organisation and the key: of a call those that it is of, else those of the account, the receiving one first."""
        key_id = self._calls.get(transfer[1], "")
        if key_id:
            return self._organizations.get(key_id, ""), key_id
        for account in (transfer[6], transfer[5]):
            if account.startswith(_OURS):
                organization = self._of(account)
                return organization, account.partition(":")[2] if account.startswith("key:") else ""
        return "", ""

    def _of(self, account: str) -> str:
        kind, _, id_ = account.partition(":")
        return self._organizations.get(id_, "") if kind == "key" else id_

    def touches(self, transfer: Sequence[Any], organization: str) -> bool:
        """Whether one side is an account of an organisation."""
        sides = (account for account in transfer[5:7] if account.startswith(_OURS))
        return any(self._of(account) == organization for account in sides)


async def _owners(reader: Reader, transfers: Iterable[Sequence[Any]]) -> _Owners:
    request_ids = {one[1] for one in transfers}
    calls: dict[str, str] = {}
    if request_ids:
        sql = f"SELECT request_id, key_id FROM holds WHERE request_id {reader.among}"  # noqa: S608  the store's own word
        calls = {row[0]: row[1] for row in await reader.fetch(sql, reader.array(request_ids))}
    sides = (account for one in transfers for account in one[5:7] if account.startswith("key:"))
    keys = {*calls.values(), *(account.partition(":")[2] for account in sides)}
    organizations: dict[str, str] = {}
    if keys:
        sql = f"SELECT id, profile FROM api_keys WHERE id {reader.among}"  # noqa: S608  as above
        organizations = {row[0]: row[1] for row in await reader.fetch(sql, reader.array(keys))}
    return _Owners(calls, organizations)
