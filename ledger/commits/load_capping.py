"""Owns what an act on a cap loads: all keys of its scope with their accounts locked, their open calls, and what they spent.

The keys and their open calls are named before anything is locked, so that all is locked in the one order. What came in
between is seen once the accounts are locked: a new key begins the transaction again, a new call is locked as well.
"""

from collections.abc import Collection, Sequence

from ledger.commits.fetching import fetch_by
from ledger.commits.load_limits import load_caps, load_periods
from ledger.commits.wanted import Capping, Wanted
from ledger.rules.book import Book, CallsBefore
from ledger.rules.capping import zone_of
from ledger.rules.limits.base import KEY, ORGANIZATION, organization_scope, scopes
from ledger.rules.limits.periods import Span, span
from ledger.rules.rows import USAGE_BLOCK, Hold, HoldState
from ledger.store.base import StoreConflict, Transaction

CALLS_MAX = 1_000_000  # of the period in which a cap is made: with more it begins with the next one
PROBES_MAX = 1_000_000  # of the index of calls by key: its blocks times the keys
CLOCK_BACK_MS = 2 * 3_600_000  # rows may be out of their order in time by so much
_OPEN_SQL = "SELECT request_id FROM holds WHERE state IN ('open', 'estimated') AND key_id "
_OF_KEY_SQL = "SELECT id FROM api_keys WHERE id = $1"
_OF_ACCOUNT_SQL = "SELECT id FROM api_keys WHERE account_id = (SELECT account_id FROM api_keys WHERE id = $1)"
_OF_ORGANIZATION_SQL = "SELECT id FROM api_keys WHERE profile = $1"
# Expired calls are named one by one: a late report may bill them yet.
_ENDED_SQL = """
    SELECT CASE WHEN h.state = 'expired' THEN h.request_id ELSE '' END, COUNT(*), SUM(u.billed_nano - u.refunded_nano)
    FROM usage u JOIN holds h ON h.request_id = u.request_id WHERE u.key_id
"""
_WITHIN_SQL = f"""
    AND (u.seq / {USAGE_BLOCK}) = $2 AND u.slot = 0
        AND h.state IN ('settled', 'expired') AND h.created_ms >= $3 AND h.created_ms < $4
    GROUP BY 1
"""
_BILLED_SQL = "SELECT COALESCE(SUM(billed_nano - refunded_nano), 0) FROM usage WHERE slot = 0 AND request_id "
_NEVER_MS = 2**62


async def name_scopes(tx: Transaction, names: Wanted) -> None:
    """Adds the names of what acts on caps need: the keys of a scope, its organisation, its open calls."""
    for scope in names.scopes:  # of limits
        names.request_ids |= await _open_of(tx, await _keys_of(tx, scope, siblings=False))
    for one in names.capping:
        scope = one.scope
        if one.ends:
            rows = await tx.fetch("SELECT scope FROM caps WHERE id = $1", one.cap_id)
            scope = str(rows[0][0]) if rows else ""
        if not scope:
            continue
        keys = await _keys_of(tx, scope, siblings=one.ends)
        names.key_ids |= keys
        if scope.startswith(ORGANIZATION):
            names.profiles.add(scope.removeprefix(ORGANIZATION))
        if not one.ends:
            names.request_ids |= await _open_of(tx, keys)


async def _keys_of(tx: Transaction, scope: str, *, siblings: bool) -> set[str]:
    """The keys of a scope. With `siblings` also those that draw on the same account as its key."""
    of_key = _OF_ACCOUNT_SQL if siblings else _OF_KEY_SQL
    sql = of_key if scope.startswith(KEY) else _OF_ORGANIZATION_SQL
    return {str(row[0]) for row in await tx.fetch(sql, scope.partition(":")[2])}


async def _open_of(tx: Transaction, keys: Collection[str]) -> set[str]:
    return {str(row[0]) for row in await tx.fetch(_OPEN_SQL + tx.among, tx.array(keys))}


async def load_capping(tx: Transaction, book: Book, names: Wanted) -> None:
    """Completes a book that has all that `name_scopes` has named. Raises StoreConflict if a key was made meanwhile."""
    for one in names.capping:
        await fetch_by(tx, book.caps, "id", {one.cap_id}, locked=True)
        cap = book.caps.get(one.cap_id)
        scope = one.scope if cap is None else cap.scope
        if not scope:
            continue
        if not (one.scope or one.ends):
            book.capped.setdefault(scope, [] if cap is None or cap.ended_ms else [cap])
            continue
        keys = await _keys_of(tx, scope, siblings=one.ends)
        if not all(key in book.keys for key in keys):
            raise StoreConflict("a key was made while the caps of its organisation were about to change")
        # Read again: limits of theirs may have been set before the accounts were locked.
        await fetch_by(tx, book.keys, "id", keys)
        organizations = {book.keys[key].profile for key in keys}
        await fetch_by(tx, book.profiles, "id", organizations)
        named = {name for key in keys if one.ends for name in scopes(book.keys[key])}
        named |= {scope, *(organization_scope(name) for name in organizations if one.ends)}
        await load_caps(tx, book, named - book.capped.keys())
        if cap is None and keys:
            await _load_calls(tx, book, one, keys)
    await load_periods(tx, book)


async def _load_calls(tx: Transaction, book: Book, one: Capping, keys: set[str]) -> None:
    """Counts the calls of the period in which a cap is made. Their accounts are locked, so that no more begin."""
    owner = next(book.keys[key].profile for key in keys)
    now = span(one.period, zone_of(book, one.zone, owner), book.now_ms)
    since_ms = max(now.start_ms, min(book.keys[key].created_ms for key in keys))
    blocks = await _blocks(tx, since_ms - CLOCK_BACK_MS)
    ended = await _ended(tx, keys, blocks, now)
    if ended is None:
        book.calls_before[one.cap_id] = CallsBefore(too_many=True)
        return
    spent_nano, expired = ended
    new = (expired | await _open_of(tx, keys)) - {hold.request_id for hold in book.holds.values()}
    await fetch_by(tx, book.holds, "request_id", new, locked=True)
    held = [hold for hold in book.holds.values() if hold.key_id in keys and _may_be_billed(hold, now)]
    billed = await tx.fetch(_BILLED_SQL + tx.among, tx.array(hold.request_id for hold in held))
    book.calls_before[one.cap_id] = CallsBefore(spent_nano, tuple(held), int(billed[0][0]))


async def _ended(
    tx: Transaction, keys: set[str], blocks: Sequence[int], now: Span
) -> tuple[int, set[str]] | None:
    """What calls of a period that are settled were billed, and which have expired. None if there are too many."""
    spent_nano, calls = 0, 0
    expired: set[str] = set()
    if len(blocks) * len(keys) > PROBES_MAX:
        return None
    sql = f"{_ENDED_SQL}{tx.among}{_WITHIN_SQL}"
    for block in blocks:
        rows = await tx.fetch(sql, tx.array(keys), block, now.start_ms, now.end_ms or _NEVER_MS)
        for request_id, number, billed in rows:
            calls, spent_nano = calls + number, spent_nano + int(billed)
            if request_id:
                expired.add(request_id)
        if calls > CALLS_MAX:
            return None
    return spent_nano, expired


def _may_be_billed(hold: Hold, now: Span) -> bool:
    """Whether a call of a period may still be billed, or billed otherwise."""
    states = (HoldState.OPEN, HoldState.ESTIMATED, HoldState.EXPIRED)
    return hold.state in states and now.start_ms <= hold.created_ms < (now.end_ms or _NEVER_MS)


async def _blocks(tx: Transaction, since_ms: int) -> Sequence[int]:
    """The blocks of the index of calls by key that may have calls since a moment, found by halves."""
    newest = (await tx.fetch("SELECT COALESCE(MAX(seq), 0) FROM usage"))[0][0]
    low, high = 0, newest
    while low < high:
        middle = (low + high) // 2
        rows = await tx.fetch("SELECT created_ms FROM usage WHERE seq > $1 ORDER BY seq LIMIT 1", middle)
        if rows and rows[0][0] < since_ms:
            low = middle + 1
        else:
            high = middle
    return range(low // USAGE_BLOCK, newest // USAGE_BLOCK + 1)
