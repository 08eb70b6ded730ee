"""Owns how a batch's rows are loaded and its changes written: set by set, locked in one order everywhere.

The order is holds, callers' accounts, new rows, all other accounts, stream position, each sorted by its key: ledgers
that share a database wait for one another, but never in a circle. The accounts that every batch touches come last, so
they are locked for the shortest time.
"""

from collections.abc import Mapping
from typing import cast

from msgspec import Struct
from msgspec.structs import astuple

from ledger.commits.ranges import Range, advance, ranges_of
from ledger.rules.book import Book
from ledger.rules.rows import (
    DEPOSITS,
    Account,
    AccountKind,
    Hold,
    Key,
    Profile,
    Transfer,
    Usage,
    account_kind,
    playground_id,
)
from ledger.store.base import Row, Transaction
from ledger.store.statements import (
    ACCOUNTS,
    HOLDS,
    KEYS,
    PARKED,
    PROFILES,
    RANGES,
    SET_BALANCES,
    SET_CREDITS,
    SET_HOLDS,
    SET_STATUS,
    SET_USAGE,
    TRANSFERS,
    USAGE,
    columns,
)

_HOLDS_SQL = f"SELECT {columns(HOLDS)} FROM holds WHERE "  # noqa: S608  made of our own column names
_USAGE_SQL = f"SELECT {columns(USAGE)} FROM usage WHERE request_id "  # noqa: S608  as _HOLDS_SQL
_KEYS_SQL = f"SELECT {columns(KEYS)} FROM api_keys WHERE "  # noqa: S608  as _HOLDS_SQL
_ACCOUNTS_SQL = f"SELECT {columns(ACCOUNTS)} FROM accounts WHERE id "  # noqa: S608  as _HOLDS_SQL
_PROFILES_SQL = f"SELECT {columns(PROFILES)} FROM profiles WHERE id "  # noqa: S608  as _HOLDS_SQL
_DEPOSITS_SQL = f"SELECT {columns(TRANSFERS)} FROM transfers WHERE kind = 'deposit' AND request_id "  # noqa: S608  as _HOLDS_SQL
_DIFFERENCE_SQL = (
    "INSERT INTO accounts (id, kind, posted_nano, held_nano) VALUES ($1, $2, $3, 0) "
    "ON CONFLICT (id) DO UPDATE SET posted_nano = accounts.posted_nano + excluded.posted_nano"
)
_OPEN = "state IN ('open', 'estimated')"


class Wanted(Struct):
    """Names of the rows that a batch needs. Requests bring their holds, usage and accounts along."""

    request_ids: set[str]
    billed: set[str]  # request ids whose usage matters too
    digests: set[str]
    key_ids: set[str]
    profiles: set[str]
    deposits: set[str]  # request ids of credits


class Applied(Struct, frozen=True):
    """Stream sequences whose events a batch applies."""

    identity: str
    sequences: tuple[int, ...]


def wanted() -> Wanted:
    """Nothing yet."""
    return Wanted(set(), set(), set(), set(), set(), set())


async def load(tx: Transaction, book: Book, names: Wanted) -> None:
    """Fills a book with what a batch wants, locked where it will be changed."""
    if names.request_ids:
        for row in await tx.fetch(
            f"{_HOLDS_SQL}request_id {tx.among} ORDER BY request_id{tx.locked}", tx.array(names.request_ids)
        ):
            hold = Hold(*row)
            book.holds[hold.request_id] = hold
        await _load_usage(tx, book, names.billed)
    if names.digests:
        await _load_keys(tx, book, "digest", names.digests)
    if names.key_ids:
        await _load_keys(tx, book, "id", names.key_ids)
    if names.deposits:
        for row in await tx.fetch(_DEPOSITS_SQL + tx.among, tx.array(names.deposits)):
            book.deposits[row[0]] = cast("Transfer", tuple(row))
    if names.deposits or names.profiles:
        for row in await tx.fetch("SELECT posted_nano FROM accounts WHERE id = $1", DEPOSITS):
            book.deposited_before_nano = -row[0]
    await load_accounts(tx, book, names.profiles)
    await _load_prices(tx, book)


async def _load_usage(tx: Transaction, book: Book, request_ids: set[str]) -> None:
    # An open hold on its first attempt has no usage yet, which is what nearly all events meet.
    known = [
        request_id
        for request_id in request_ids
        if (hold := book.holds.get(request_id)) is None or hold.state != "open" or hold.attempt > 1
    ]
    if known:
        for row in await tx.fetch(_USAGE_SQL + tx.among, tx.array(known)):
            usage = Usage(*row)
            book.usage[usage.request_id, usage.slot] = usage


async def _load_keys(tx: Transaction, book: Book, column: str, values: set[str]) -> None:
    for row in await tx.fetch(f"{_KEYS_SQL}{column} {tx.among}", tx.array(values)):
        key = book.keys.setdefault(row[0], Key(*row))
        book.keys_by_digest[key.digest] = key


async def load_accounts(tx: Transaction, book: Book, profiles: set[str]) -> None:
    """Loads and locks the callers' accounts of a book's holds and keys, and those of some profiles."""
    ids = {hold.account_id for hold in book.holds.values() if hold.account_id}
    ids.update(key.account_id for key in book.keys.values())
    ids.update(playground_id(profile) for profile in profiles)
    if not ids:
        return
    # Before the accounts: another ledger makes both at once, so a profile that is seen here has its account there.
    await _load_profiles(tx, book, profiles)
    for row in await tx.fetch(f"{_ACCOUNTS_SQL}{tx.among} ORDER BY id{tx.locked}", tx.array(ids)):
        book.accounts[row[0]] = Account(*row)
    # After them: what a profile shows changes only while its account is locked.
    accounts = [one.id for one in book.accounts.values() if one.kind == AccountKind.PLAYGROUND]
    await _load_profiles(tx, book, {id_.partition(":")[2] for id_ in accounts})


async def _load_profiles(tx: Transaction, book: Book, profiles: set[str]) -> None:
    if profiles:
        for row in await tx.fetch(_PROFILES_SQL + tx.among, tx.array(profiles)):
            book.profiles[row[0]] = Profile(*row)


async def _load_prices(tx: Transaction, book: Book) -> None:
    unknown = {
        hold.price_ref
        for hold in book.holds.values()
        if hold.price_ref and hold.price_ref not in book.catalogue.prices
    }
    if unknown:
        rows = await tx.fetch(f"SELECT ref, body FROM prices WHERE ref {tx.among}", tx.array(unknown))  # noqa: S608  tx.among is the store's own word
        book.catalogue.learn([(row[0], row[1]) for row in rows])


async def load_lapsed(tx: Transaction, book: Book, before_ms: int, limit: int) -> list[Hold]:
    """Loads holds whose lease ended before a moment; those that another ledger has locked are left out."""
    found = await tx.fetch(
        f"{_HOLDS_SQL}{_OPEN} AND lease_ms < $1 ORDER BY request_id LIMIT $2{tx.locked_free}",
        before_ms,
        limit,
    )
    lapsed = [Hold(*row) for row in found]
    for hold in lapsed:
        book.holds[hold.request_id] = hold
    await _load_usage(tx, book, set(book.holds))
    await load_accounts(tx, book, set())
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


async def save(tx: Transaction, book: Book, applied: Applied | None) -> None:
    """Writes a book's changes."""
    for table, new in (
        (PROFILES, book.new_profiles),
        (ACCOUNTS, book.new_accounts),
        (KEYS, book.new_keys),
    ):
        if new:
            await tx.insert(table, _sorted(new))
    await _save_changed(tx, book)
    await _save_new(tx, book)
    for account_id, difference in sorted(book.differences.items()):
        await tx.execute(_DIFFERENCE_SQL, account_id, account_kind(account_id), difference)
    if applied is not None:
        await save_position(tx, applied.identity, ranges_of(applied.sequences))


async def _save_changed(tx: Transaction, book: Book) -> None:
    if book.changed_keys:
        keys = [(key.status, key.revoked_ms, key.id) for key in book.changed_keys.values()]
        await tx.update(SET_STATUS, keys)
    if book.changed_accounts:
        balances = [(row.posted_nano, row.held_nano, row.id) for row in book.changed_accounts.values()]
        await tx.update(SET_BALANCES, balances)
    if book.changed_profiles:
        credits_usd = [(row.playground_credits_usd, row.id) for row in book.changed_profiles.values()]
        await tx.update(SET_CREDITS, credits_usd)
    if book.changed_holds:
        holds = [
            (row.held_nano, row.attempt, row.state, row.lease_ms, row.closed_ms, row.request_id)
            for row in book.changed_holds.values()
        ]
        await tx.update(SET_HOLDS, holds)
    if book.changed_usage:
        await tx.update(SET_USAGE, [_usage_update(row) for row in book.changed_usage.values()])


async def _save_new(tx: Transaction, book: Book) -> None:
    if book.new_holds:
        await tx.insert(HOLDS, _sorted(book.new_holds))
    if book.new_usage:
        await tx.insert(USAGE, [astuple(row) for row in book.new_usage.values()])
    if book.transfers:
        await tx.insert(TRANSFERS, book.transfers)
    if book.parked:
        await tx.insert(PARKED, [astuple(row) for row in book.parked])


def _sorted(rows: Mapping[str, Struct]) -> list[Row]:
    return [astuple(rows[key]) for key in sorted(rows)]


def _usage_update(row: Usage) -> Row:
    # The two key columns stand first in the row, and last in the update.
    values = astuple(row)
    return (*values[2:], *values[:2])


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
            "UPDATE stream_positions SET applied_seq = $2 WHERE identity = $1", identity, reached
        )
    if ahead:
        await tx.execute("DELETE FROM stream_ranges WHERE identity = $1", identity)
    if rest:
        await tx.insert(RANGES, [(identity, first, last) for first, last in rest])
