"""Owns how what bounds calls beside the balance is loaded and locked: caps with their periods, and rates.

A batch whose accounts are not limited, and whose holds count nowhere, asks the database for nothing here.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from functools import cache

from msgspec.structs import astuple

from ledger.commits.fetching import fetch_by, select
from ledger.rules.book import Book
from ledger.rules.counted import counted, read_counted
from ledger.rules.limits.base import scopes
from ledger.rules.limits.caps import current_id
from ledger.rules.limits.rates import bounds_of, new_rate
from ledger.rules.rows import Cap, CapPeriod, Hold, HoldState, Key, Profile, row_of
from ledger.store.base import Transaction
from ledger.store.statements import CAP_PERIODS, CAPS, KEYS, NEW_RATES, PROFILES, columns

_OPEN = "state IN ('open', 'estimated') AND state = 'open'"  # the first part is the index's own
_KEY_WIDTH, _CAP_WIDTH = len(KEYS.columns), len(CAPS.columns)
_OWNED_SQL = (
    f"SELECT {columns(KEYS, 'k')}, {columns(PROFILES, 'p')} "  # noqa: S608  made of our own column names
    "FROM api_keys AS k JOIN profiles AS p ON p.id = k.profile WHERE k.id "
)


@cache
def _current_sql(among: str, locked: str) -> str:
    """Caps in force with their newest periods that have begun. PostgreSQL locks no optional side of a join: first each, then both."""
    newest = "SELECT MAX(q.start_ms) FROM cap_periods AS q WHERE q.cap_id = c.id AND q.start_ms <= $2"
    return (
        f"WITH c AS (SELECT {columns(CAPS)} FROM caps WHERE scope {among} AND ended_ms = 0 ORDER BY id{locked}), "  # noqa: S608  made of our own names
        f"p AS (SELECT {columns(CAP_PERIODS, 'p')} FROM c JOIN cap_periods AS p "
        f"ON p.cap_id = c.id AND p.start_ms = ({newest}) ORDER BY p.id{locked and f'{locked} OF p'}) "
        f"SELECT {columns(CAPS, 'c')}, {columns(CAP_PERIODS, 'p')} FROM c LEFT JOIN p ON p.cap_id = c.id ORDER BY c.id"
    )


async def load_scopes(tx: Transaction, book: Book, names: set[str]) -> None:
    """Loads the keys of scopes whose limits change, and locks their organisations: no key is made there meanwhile."""
    keys = {name.partition(":")[2] for name in names if name.startswith("key:")}
    organizations = {name.partition(":")[2] for name in names if name.startswith("org:")}
    await fetch_by(tx, book.profiles, "id", organizations, locked=True)
    await fetch_by(tx, book.keys, "id", keys, locked=True)  # it is written whole
    await fetch_by(tx, book.keys, "profile", organizations)


async def load_open_holds(tx: Transaction, book: Book) -> None:
    """Loads and locks the open holds of the book's keys: what a new limit counts too. Their accounts are locked already."""
    ids = {key.id for key in book.keys.values()}
    where = f"{_OPEN} AND key_id {tx.among} ORDER BY request_id{tx.locked}"
    rows = await tx.fetch(select(Hold) + where, tx.array(ids))
    book.holds.load(row for row in (row_of(Hold, row) for row in rows) if row.request_id not in book.holds)


async def load_limits(tx: Transaction, book: Book, changing: AbstractSet[str] = frozenset()) -> None:
    """Loads what the batch's limited keys and counted holds need, locked. Their accounts are locked already.

    `changing` are scopes whose limits a command of the batch sets.
    """
    counts = [counted(hold) for hold in book.holds.values() if hold.limits]
    limited = [key for key in book.keys.values() if book.accounts[key.account_id].limited]
    if not counts and not limited and not changing:
        return
    named = {scope for key in limited for scope in scopes(key)}
    if limited:
        await _read_again(tx, book, {key.id for key in limited})
        limited = [book.keys[key.id] for key in limited]
    unknown = _known_caps(book, named)
    if counts:
        await load_caps(tx, book, unknown)
    else:  # no periods but the current ones are locked, so that they may come with their caps
        await _load_current(tx, book, unknown)
    late = [hold for hold in book.holds.values() if hold.limits and hold.state != HoldState.OPEN]
    if late:  # a report may come that charges more: as much as their caps leave
        capped = {id_.partition("@")[0] for hold in late for id_ in counted(hold).p}
        await fetch_by(tx, book.caps, "id", {id_ for id_ in capped if id_ not in book.caps})
    await load_periods(tx, book, {id_ for one in counts for id_ in one.p})
    await _load_rates(tx, book, limited, {scope for one in counts for scope in one.r} | changing)


async def _read_again(tx: Transaction, book: Book, ids: set[str]) -> None:
    """Reads keys once more, now that their accounts are locked, with their profiles, where the book does not have these."""
    if not tx.locked:  # nobody has written since they were read
        await fetch_by(tx, book.profiles, "id", {book.keys[id_].profile for id_ in ids})
        return
    rows = await tx.fetch(_OWNED_SQL + tx.among, tx.array(ids))
    book.keys.load(row_of(Key, row[:_KEY_WIDTH]) for row in rows)
    for row in rows:
        if row[_KEY_WIDTH] not in book.profiles:
            book.profiles.load((row_of(Profile, row[_KEY_WIDTH:]),))


def _known_caps(book: Book, named: Collection[str]) -> list[str]:
    """Takes the caps of scopes that are kept. Returns the other scopes."""
    for scope in named:
        if (caps := book.known_caps.get(scope)) is not None:
            book.capped[scope] = caps
            book.caps.load(caps)
    return [scope for scope in named if scope not in book.capped]


async def _load_current(tx: Transaction, book: Book, named: Collection[str]) -> None:
    """Loads and locks the caps in force of some scopes, each with its newest period that has begun."""
    if not named:
        return
    rows = await tx.fetch(_current_sql(tx.among, tx.locked), tx.array(named), book.now_ms)
    book.capped.update({scope: [] for scope in named})
    for row in rows:
        cap = row_of(Cap, row[:_CAP_WIDTH])
        book.caps.load((cap,))
        book.capped[cap.scope].append(cap)
        if row[_CAP_WIDTH] is not None and book.periods.recall((row[_CAP_WIDTH],)):
            book.periods.load((row_of(CapPeriod, row[_CAP_WIDTH:]),))


async def load_caps(tx: Transaction, book: Book, named: Collection[str]) -> None:
    """Loads and locks the caps in force of some scopes. Whoever changes a cap has its lock."""
    if named:
        where = f"scope {tx.among} AND ended_ms = 0 ORDER BY id{tx.locked}"
        rows = await tx.fetch(select(Cap) + where, tx.array(named))
        found = [row_of(Cap, row) for row in rows]
        book.caps.load(found)
        book.capped.update({scope: [] for scope in named})
        for cap in found:
            book.capped[cap.scope].append(cap)


async def load_periods(tx: Transaction, book: Book, others: Iterable[str] = ()) -> None:
    """Loads and locks the current periods of all caps in force in a book, and some others by id, where it lacks them."""
    ids = {current_id(cap, book.now_ms) for caps in book.capped.values() for cap in caps}
    wanted = [id_ for id_ in ids.union(others) if id_ not in book.periods]
    await fetch_by(tx, book.periods, "id", wanted, locked=True)


async def _load_rates(tx: Transaction, book: Book, limited: list[Key], scopes_: set[str]) -> None:
    bounded = {one.scope for key in limited for one in bounds_of(key, book.profiles.get(key.profile))}
    await fetch_by(tx, book.rates, "scope", bounded | scopes_, locked=True)
    missing = sorted(scope for scope in bounded | scopes_ if scope not in book.rates)
    if not missing:
        return
    # New, or taken by a crash of the database. Whoever else makes the same row waits, and then counts on in this one.
    open_ = await tx.fetch(f"SELECT limits FROM holds WHERE {_OPEN} AND limits <> ''")  # noqa: S608  a constant
    in_flight = Counter(scope for row in open_ for scope in read_counted(row[0]).r)
    await tx.insert(NEW_RATES, [astuple(new_rate(scope, in_flight[scope])) for scope in missing])
    await fetch_by(tx, book.rates, "scope", missing, locked=True)
