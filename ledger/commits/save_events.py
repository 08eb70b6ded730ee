"""Owns how what a commit tells becomes rows of the outbox: whose each is, and its body. Read only where there is something."""

from datetime import UTC, datetime

from ledger.commits.fetching import fetch_by
from ledger.rules import telling
from ledger.rules.book import EXHAUSTED_EVERY_MS, Book, Told
from ledger.rules.capping import listed
from ledger.rules.event_rows import EventRow
from ledger.rules.limits.base import KEY
from ledger.store.base import Transaction
from schemas.bus.subjects import new_id
from schemas.events import BODY_BYTES_MAX, body_of

HUSHED_MAX = 10_000  # accounts; beyond it some are looked up again
_OWNERS_SQL = "SELECT account_id, profile FROM api_keys WHERE account_id "
_KEYS_SQL = "SELECT id, profile FROM api_keys WHERE id "
_EXHAUSTED_SQL = (
    "SELECT object, MAX(created_ms) FROM events WHERE type = 'balance.exhausted' AND object {among} "
    "AND created_ms > $2 GROUP BY object"
)


def _tells(book: Book) -> bool:
    """Whether a commit may have something to tell."""
    return bool(book.told or book.low_before or book.exhausted or book.cap_notes or book.parked)


async def make_events(tx: Transaction, book: Book) -> None:
    """Adds to a book the events of what it has noted, if anything."""
    if not _tells(book):
        return
    telling.tell_balances(book)
    for parked in book.parked:
        telling.tell_parked(book, parked)
    if book.exhausted:
        await _tell_exhausted(tx, book)
    if book.cap_notes:
        await _tell_caps(tx, book)
    owners = await _owners(tx, book)
    for one in book.told:
        whose = one.organization if one.organization is not None else owners.get(one.account, "")
        book.events.append(event_row(one, whose, book.now_ms))
    book.told.clear()


def event_row(one: Told, organization: str, now_ms: int) -> EventRow:
    """The outbox's row of what is told."""
    moment = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
    stamp = moment.replace("+00:00", "Z")
    body = body_of(one.type, stamp, one.data)
    if len(body) > BODY_BYTES_MAX:  # a key with a long list of models: its receiver has to ask
        body = body_of(one.type, stamp, {"id": one.object, "truncated": True})
    return EventRow(
        id=one.id or new_id("evt_"),
        type=one.type,
        organization=organization,
        object=one.object,
        body=body.decode(),
        created_ms=now_ms,
        endpoint=one.endpoint,
    )


async def _tell_exhausted(tx: Transaction, book: Book) -> None:
    """An account that cannot pay is told of once an hour, whichever ledger refuses its calls."""
    sql = _EXHAUSTED_SQL.format(among=tx.among)
    found = await tx.fetch(sql, tx.array(book.exhausted), book.now_ms - EXHAUSTED_EVERY_MS)
    if len(book.hushed) + len(found) > HUSHED_MAX:
        book.hushed.clear()
    book.hushed.update((row[0], int(row[1])) for row in found)
    for account_id in sorted(book.exhausted - {row[0] for row in found}):
        data = telling.balance_data(book.accounts[account_id])
        book.tell(Told("balance.exhausted", account_id, None, data, account_id))


async def _tell_caps(tx: Transaction, book: Book) -> None:
    unknown = {period.cap_id for _, period in book.cap_notes if period.cap_id not in book.caps}
    await fetch_by(tx, book.caps, "id", unknown)
    scopes = {book.caps[period.cap_id].scope for _, period in book.cap_notes}
    keys = [scope.removeprefix(KEY) for scope in scopes if scope.startswith(KEY)]
    owners = {key.id: key.profile for key in book.keys.values()}
    if unknown_keys := [key for key in keys if key not in owners]:
        rows = await tx.fetch(_KEYS_SQL + tx.among, tx.array(unknown_keys))
        owners |= {row[0]: row[1] for row in rows}
    for happened, period in book.cap_notes:
        cap = book.caps[period.cap_id]
        kind, _, id_ = cap.scope.partition(":")
        whose = owners.get(id_, "") if kind == "key" else id_
        book.tell(Told(happened, cap.id, whose, listed(cap, period, book.now_ms)))


async def _owners(tx: Transaction, book: Book) -> dict[str, str]:
    """Whose the accounts are whose balances are told of."""
    named = {one.account for one in book.told if one.organization is None}
    owners = {key.account_id: key.profile for key in book.keys.values()}
    owners |= {id_: id_.partition(":")[2] for id_ in named if not id_.startswith(KEY)}
    if unknown := sorted(named - owners.keys()):
        rows = await tx.fetch(_OWNERS_SQL + tx.among, tx.array(unknown))
        owners |= {row[0]: row[1] for row in rows}
    return owners
