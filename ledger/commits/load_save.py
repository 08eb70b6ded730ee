"""Owns how a batch's rows are loaded and its changes written: set by set, locked in one order everywhere.

The order is holds, callers' accounts, caps and their periods, rates, lots, the audit log's head, new rows, all other
accounts, stream position, each sorted by its key: ledgers that share a database wait for one another, but never in a
circle. What only acts lock stands in `load_act`. The accounts that every batch touches come last, so
they are locked for the shortest time.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import astuple

from ledger.commits.fetching import fetch, fetch_by
from ledger.commits.load_limits import load_limits, load_open_holds, load_scopes
from ledger.commits.load_owners import account_ids, load_bounded, load_owned
from ledger.commits.pepper import find_former
from ledger.commits.ranges import Range, advance, ranges_of
from ledger.commits.save_events import make_events
from ledger.commits.wanted import Wanted
from ledger.prices.reach import SURPRISES_MAX, Surprises
from ledger.rollups.corrections import Correction
from ledger.rules.act_rows import Credit, Head
from ledger.rules.authority_rows import Nonce
from ledger.rules.book import Book
from ledger.rules.rows import (
    Account,
    AccountKind,
    Cap,
    CapPeriod,
    Hold,
    HoldState,
    Key,
    KeySecret,
    Profile,
    Rate,
    UsageRow,
    account_kind,
    playground_id,
    row_of,
)
from ledger.store.base import Row, Transaction
from ledger.store.statements import (
    ACCOUNTS,
    CANDIDATES,
    CAP_PERIODS,
    CAPS,
    CREDITS,
    DELIVERIES,
    DIFFERENCES,
    ENTRIES,
    EVENTS,
    HOLDS,
    KEYS,
    PARKED,
    PROFILES,
    RANGES,
    RATES,
    SECRETS,
    SURPRISES,
    TRANSFERS,
    USAGE,
    Table,
    Update,
    columns,
    table_of,
    update_of,
)

_SECRET_WIDTH = len(SECRETS.columns)
_KEYS_BY_SECRET_SQL = (
    f"SELECT {', '.join([f's.{name}' for name in SECRETS.columns] + [f'k.{name}' for name in KEYS.columns])} "  # noqa: S608  made of our own column names
    "FROM key_secrets AS s JOIN api_keys AS k ON k.id = s.key_id WHERE s.digest "
)
_SECRETLESS = "NOT EXISTS (SELECT 1 FROM key_secrets AS s WHERE s.key_id = api_keys.id)"
_OPEN = "state IN ('open', 'estimated')"


class Applied(Struct, frozen=True):
    """Stream sequences whose events a batch applies."""

    identity: str
    sequences: tuple[int, ...]


def wanted() -> Wanted:
    """Nothing yet."""
    return Wanted()


async def load(tx: Transaction, book: Book, names: Wanted) -> None:
    """Fills a book with what a batch wants, locked where it will be changed."""
    if names.request_ids:
        await fetch_by(tx, book.holds, "request_id", names.request_ids, locked=True)
        await _load_candidates(tx, book)
        await _load_usage(tx, book, names.billed)
    if names.digests:
        await _load_keys(tx, book, names.digests.union(names.former))
        if names.former:
            await find_former(tx, book, names.former, moves=names.moves)
    await fetch_by(tx, book.keys, "id", names.key_ids)
    if names.changed_keys or names.owners:
        await load_owned(tx, book, names.changed_keys, names.secrets_of, names.owners)
    if names.scopes:
        await load_scopes(tx, book, names.scopes)
    owned = await account_ids(tx, book, names.owners, names.organizations)
    await load_accounts(tx, book, names.profiles | names.owners, owned | names.accounts)
    if names.owners:
        await load_bounded(tx, book, names.owners)
    if names.scopes:
        await load_open_holds(tx, book)
    await load_limits(tx, book, names.scopes)
    await _load_prices(tx, book)


async def _load_keys(tx: Transaction, book: Book, digests: set[str]) -> None:
    """Loads keys by the digests of their secrets. One that a ledger of the version before made has its own only."""
    if book.secrets.kept:
        digests = set(book.secrets.recall(digests))
        book.keys.recall(secret.key_id for secret in book.secrets.values())
        if not digests:
            return
    rows = await tx.fetch(_KEYS_BY_SECRET_SQL + tx.among, tx.array(digests))
    book.secrets.load(
        KeySecret(
            digest=row[0],
            id=row[1],
            key_id=row[2],
            hint=row[3],
            created_ms=row[4],
            expires_ms=row[5],
            pepper=row[6],
        )
        for row in rows  # by hand: every call has one, and all of its columns are what both databases give
    )
    book.keys.load(row_of(Key, row[_SECRET_WIDTH:]) for row in rows)
    if unknown := [digest for digest in digests if digest not in book.secrets]:
        await fetch(tx, book.keys, f"digest {tx.among} AND {_SECRETLESS}", tx.array(unknown))


async def _load_usage(tx: Transaction, book: Book, request_ids: set[str]) -> None:
    # An open hold on its first attempt has no usage yet, which is what nearly all events meet; one with several models
    # may have that of the first.
    known = [
        request_id
        for request_id in request_ids
        if (hold := book.holds.get(request_id)) is None
        or hold.state != HoldState.OPEN
        or hold.attempt > 1
        or hold.candidate
    ]
    if known:
        await fetch(tx, book.usage, f"request_id {tx.among}", tx.array(known))


async def _load_candidates(tx: Transaction, book: Book) -> None:
    several = [hold.request_id for hold in book.holds.values() if hold.candidate]
    if several:
        await fetch(tx, book.candidates, f"request_id {tx.among}", tx.array(several))


async def load_accounts(tx: Transaction, book: Book, profiles: set[str], more: Iterable[str] = ()) -> None:
    """Loads and locks the callers' accounts of a book's holds and keys, those of some profiles, and more by their ids."""
    ids = {hold.account_id for hold in book.holds.values() if hold.account_id}
    ids.update(key.account_id for key in book.keys.values())
    ids.update(playground_id(profile) for profile in profiles)
    ids.update(more)
    if not ids:
        return
    # Load profiles before accounts: both are created in one commit, so a visible profile has its account.
    # A playground account's profile is written with it, so it is locked before it, as owners are.
    shown = {id_.partition(":")[2] for id_ in ids if id_.startswith("playground:")}
    await fetch_by(tx, book.profiles, "id", shown, locked=True)
    await fetch_by(tx, book.profiles, "id", profiles - shown)
    await fetch_by(tx, book.accounts, "id", ids, locked=True)
    # After them: what a profile shows changes only while its account is locked.
    accounts = [one.id for one in book.accounts.values() if one.kind == AccountKind.PLAYGROUND]
    await fetch_by(tx, book.profiles, "id", {id_.partition(":")[2] for id_ in accounts})


async def _load_prices(tx: Transaction, book: Book) -> None:
    unknown = {
        one.price_ref
        for rows in (book.holds.values(), book.candidates.values())
        for one in rows
        if one.price_ref and one.price_ref not in book.catalogue.prices
    }
    if unknown:
        rows = await tx.fetch(f"SELECT ref, body FROM prices WHERE ref {tx.among}", tx.array(unknown))  # noqa: S608  tx.among is the store's own word
        book.catalogue.learn([(row[0], row[1]) for row in rows])


async def surprise_rows(fetch: Callable[..., Awaitable[Sequence[Row]]]) -> Sequence[Row]:
    """All surprises in the books by their columns, the first that were met first, at most SURPRISES_MAX."""
    order = "ORDER BY created_ms, pool, account, upstream, uplift LIMIT $1"
    return await fetch(f"SELECT {columns(SURPRISES)} FROM surprises {order}", SURPRISES_MAX)  # noqa: S608  made of our own column names


async def load_surprises(tx: Transaction) -> Surprises:
    """The same, as holds want them."""
    return Surprises(row[:4] for row in await surprise_rows(tx.fetch))


async def load_lapsed(tx: Transaction, book: Book, before_ms: int, limit: int) -> list[Hold]:
    """Loads holds whose lease ended before a moment; those that another ledger has locked are left out."""
    where = f"{_OPEN} AND lease_ms < $1 ORDER BY request_id LIMIT $2{tx.locked_free}"
    await fetch(tx, book.holds, where, before_ms, limit)
    lapsed = list(book.holds.values())
    await _load_candidates(tx, book)
    await _load_usage(tx, book, {hold.request_id for hold in lapsed})
    await load_accounts(tx, book, set())
    await load_limits(tx, book)
    await _load_prices(tx, book)
    return lapsed


async def renew(tx: Transaction, request_ids: set[str], lease_ms: int, unless_after_ms: int) -> None:
    """Sets the leases of open holds to a moment, except those that already last longer than another."""
    inner = (
        f"SELECT request_id FROM holds WHERE request_id {tx.among} AND state = 'open' "  # noqa: S608  as in _load_prices
        f"AND lease_ms < $2 ORDER BY request_id{tx.locked}"
    )
    await tx.execute(
        f"UPDATE holds SET lease_ms = $3 WHERE request_id IN ({inner})",  # noqa: S608  as above
        tx.array(request_ids),
        unless_after_ms,
        lease_ms,
    )


class _Step(Struct, frozen=True):
    """One statement of a save, and the rows it is for."""

    statement: Table | Update
    rows: Callable[[Book], Sequence[Row]]


_CALLS_CHANGED = update_of(UsageRow)
# New rows that others refer to come first; then what was locked by the load; then new rows of calls.
_STEPS = (
    _Step(PROFILES, lambda book: book.profiles.inserts()),
    _Step(ACCOUNTS, lambda book: book.accounts.inserts()),
    _Step(KEYS, lambda book: book.keys.inserts()),
    _Step(SECRETS, lambda book: book.secrets.inserts()),
    _Step(update_of(Key), lambda book: book.keys.updates()),
    _Step(update_of(Account), lambda book: book.accounts.updates()),
    _Step(update_of(Profile), lambda book: book.profiles.updates()),
    _Step(update_of(KeySecret), lambda book: book.secrets.updates()),
    _Step(update_of(Cap), lambda book: book.caps.updates()),
    _Step(update_of(CapPeriod), lambda book: book.periods.updates()),
    _Step(update_of(Rate), lambda book: book.rates.updates()),
    _Step(update_of(Hold), lambda book: book.holds.updates()),
    _Step(CAPS, lambda book: book.caps.inserts()),
    _Step(CAP_PERIODS, lambda book: book.periods.inserts()),
    _Step(RATES, lambda book: book.rates.inserts()),
    _Step(_CALLS_CHANGED, lambda book: book.usage.updates()),
    _Step(update_of(Credit), lambda book: book.credits.updates()),
    _Step(update_of(Head), lambda book: book.log.updates()),
    _Step(HOLDS, lambda book: book.holds.inserts()),
    _Step(CANDIDATES, lambda book: book.candidates.inserts()),
    _Step(USAGE, lambda book: book.usage.inserts()),
    _Step(CREDITS, lambda book: book.credits.inserts()),
    _Step(ENTRIES, lambda book: [astuple(row) for row in book.entries]),
    _Step(TRANSFERS, lambda book: [astuple(row) for row in book.transfers]),
    _Step(PARKED, lambda book: [astuple(row) for row in book.parked]),
    _Step(DELIVERIES, lambda book: [astuple(row) for row in book.deliveries()]),
    _Step(EVENTS, lambda book: [astuple(row) for row in book.events]),
    _Step(SURPRISES, lambda book: sorted(astuple(row) for row in book.surprises.values())),
)


async def save(tx: Transaction, book: Book, applied: Applied | None) -> None:
    """Writes a book's changes."""
    await make_events(tx, book)
    if book.minutes is not None:
        book.minutes.keep()
    await _save_rows(tx, book)
    await _save_of_acts(tx, book)
    for row in book.put_aside.removed.values():
        await tx.execute(
            "DELETE FROM parked_events WHERE request_id = $1 AND attempt = $2", row.request_id, row.attempt
        )
    for pool, account in book.forgotten:
        await tx.execute(
            "DELETE FROM surprises WHERE pool = $1 AND (account = $2 OR $3)", pool, account, not account
        )
    if book.differences:
        await tx.insert(
            DIFFERENCES,
            [
                (account_id, account_kind(account_id), difference, 0)
                for account_id, difference in sorted(book.differences.items())
            ],
        )
    if applied is not None:
        await save_position(tx, applied.identity, ranges_of(applied.sequences))


async def _save_rows(tx: Transaction, book: Book) -> None:
    """Writes new and changed rows. Changes that stand one after another are made together."""
    changes: list[tuple[Update, Sequence[Row]]] = []
    for step in _STEPS:
        rows = step.rows(book)
        if not rows:
            continue
        if isinstance(step.statement, Update) and step.statement is not _CALLS_CHANGED:
            changes.append((step.statement, rows))
            continue
        if changes:
            await tx.update_all(changes)
            changes = []
        if isinstance(step.statement, Table):
            await tx.insert(step.statement, rows)
        else:
            await _correct(tx, book, rows)
    if changes:
        await tx.update_all(changes)


async def _save_of_acts(tx: Transaction, book: Book) -> None:
    """Writes what an act changes of who may act, and of where events go."""
    for some in book.sets_of_acts():
        if rows := some.updates():
            await tx.update(update_of(some.kind), rows)
        if rows := some.inserts():
            await tx.insert(table_of(some.kind), rows)
        if some.kind is Nonce:
            for row in some.removed.values():
                await tx.execute("DELETE FROM sign_in_nonces WHERE id = $1", row.id)


async def _correct(tx: Transaction, book: Book, rows: Sequence[Row]) -> None:
    """Changes rows of calls, and the roll-ups that have them."""
    correction = Correction(book.usage.changed.values(), tx.now_ms)
    await correction.before(tx)
    await tx.update(_CALLS_CHANGED, rows)
    await correction.after(tx)


async def save_position(tx: Transaction, identity: str, applied: list[Range]) -> None:
    """Adds sequences whose events are in the books, or nowhere, to a stream's position."""
    found = await tx.fetch(
        f"SELECT applied_seq FROM stream_positions WHERE identity = $1{tx.locked}",  # noqa: S608  tx.locked is the store's own word
        identity,
    )
    if not found:
        await tx.execute(
            "INSERT INTO stream_positions (identity, applied_seq, current, opened_ms, detail) "
            "VALUES ($1, $2, $3, $4, $5)",
            identity,
            0,
            True,
            tx.now_ms,
            "",
        )
    ahead = await tx.fetch("SELECT first_seq, last_seq FROM stream_ranges WHERE identity = $1", identity)
    position = found[0][0] if found else 0
    reached, rest = advance(position, [*((row[0], row[1]) for row in ahead), *applied])
    if reached != position:
        await tx.execute(
            "UPDATE stream_positions SET applied_seq = $2, turn = turn + 1 WHERE identity = $1",
            identity,
            reached,
        )
    if ahead:
        await tx.execute("DELETE FROM stream_ranges WHERE identity = $1", identity)
    if rest:
        await tx.insert(RANGES, [(identity, first, last) for first, last in rest])
