"""Owns what an act loads beside its rows: once it has the audit log's head, it reads again what only acts change.

Every act locks the head, after the accounts that it changes. So acts of all ledgers come one after another, and what was
read before without a lock, such as whether a key is revoked, is read once more.
"""

from ledger.commits.fetching import fetch, fetch_by
from ledger.commits.load_grant import load_grant, rehash
from ledger.commits.load_topups import load_topups
from ledger.commits.load_webhooks import load_webhooks
from ledger.commits.wanted import Wanted
from ledger.rules.act_rows import Entry, Head
from ledger.rules.book import Book
from ledger.rules.identity import Unproven
from ledger.rules.limits.base import KEY
from ledger.rules.rows import SOURCES, Account, Parked, Transfer, row_of
from ledger.store.base import Transaction
from ledger.store.statements import ENTRIES, PARKED, TRANSFERS, columns, table_of
from schemas.admin.credentials import SignInToken
from schemas.admin.operators import TRIES_WINDOW_S
from schemas.verbs.base import Rows

FAILED_MAX = 200  # tries to sign in that are looked through for those of one address
_ENTRY_SQL = f"SELECT {columns(ENTRIES)} FROM audit_entries WHERE credential = $1 AND idempotency_key = $2"  # noqa: S608  made of our own column names
_LIMITED_SQL = "SELECT limited FROM upstream_accounts WHERE pool = $1 AND id = $2"
_PARKED_SQL = f"SELECT {columns(PARKED)} FROM parked_events WHERE request_id = $1 AND attempt = $2"  # noqa: S608  as above
_HEAD_SQL = f"SELECT {columns(table_of(Head))} FROM audit_head"  # noqa: S608  as above
_DEPOSITS_SQL = f"SELECT {columns(TRANSFERS)} FROM transfers WHERE kind = 'deposit' AND request_id "  # noqa: S608  as above
_ACCOUNTS_SQL = f"SELECT {columns(table_of(Account))} FROM accounts WHERE id "  # noqa: S608  as above
NONCE_MARGIN_MS = 60_000  # beyond what the clocks of two ledgers may differ
_OVER = "ends_ms < $1 ORDER BY ends_ms LIMIT 100"  # each sign-in takes more away than it leaves
_FAILED_SQL = (
    "SELECT ip, created_ms FROM audit_entries WHERE action IN ('sign_in_failed', 'sign_in_oidc_failed') "
    "AND created_ms > $2 ORDER BY number DESC LIMIT $1"
)
_OWNERS = "role = 'owner' AND status = 'active' AND organization = '' ORDER BY created_ms, id"


async def load_act(tx: Transaction, book: Book, names: Wanted) -> None:
    """Completes a book that `load` has filled, for the one act of its commit."""
    callers = [one.id for one in book.accounts.values()]
    if names.lots and callers:
        where = f"account_id {tx.among} AND lot_nano > 0 ORDER BY id{tx.locked}"
        await fetch(tx, book.credits, where, tx.array(callers))
    book.log.load(row_of(Head, row) for row in await tx.fetch(_HEAD_SQL + tx.locked))
    await _load_right(tx, book, names)
    if names.record is not None and names.record[1]:
        credential = book.grant.id if names.proof is not None else names.record[0]
        for row in await tx.fetch(_ENTRY_SQL, credential, names.record[1]):
            book.record = row_of(Entry, row)
    await _read_again(tx, book)
    await _load_people(tx, book, names)
    await _load_credits(tx, book, names)
    await load_webhooks(tx, book, names)
    await load_topups(tx, book, names)
    for row in await tx.fetch(_ACCOUNTS_SQL + tx.among, tx.array(SOURCES)):
        book.deposited_before_nano -= row_of(Account, row).posted_nano
    for pool, account in names.upstream:
        for row in await tx.fetch(_LIMITED_SQL, pool, account):
            book.upstream[pool, account] = bool(row[0])
    if names.parked is not None:
        rows = await tx.fetch(_PARKED_SQL, *names.parked)
        book.put_aside.load(row_of(Parked, row) for row in rows)
    await fetch_by(tx, book.accounts, "id", names.others, locked=True)


async def _load_right(tx: Transaction, book: Book, names: Wanted) -> None:
    """By whose right the act is asked for, and whose keys it is about. Nobody changes a right while the head is locked."""
    if names.proof is None:
        return
    found = await load_grant(tx, names.proof, names.proof_digests, tx.now_ms)
    if isinstance(found, Rows):
        book.refusal = found
        if isinstance(names.proof, SignInToken | Unproven):
            rows = await tx.fetch(_FAILED_SQL, FAILED_MAX, tx.now_ms - TRIES_WINDOW_S * 1000)
            book.people.failed = [(row[0], int(row[1])) for row in rows]
        return
    if names.moves and names.proof_digests:
        await rehash(tx, found, names.proof_digests[0])
    book.grant = found.grant
    named = {hold.key_id for hold in book.holds.values()}
    named |= {cap.scope.removeprefix(KEY) for cap in book.caps.values() if cap.scope.startswith(KEY)}
    await fetch_by(tx, book.keys, "id", {one for one in named if one and one not in book.keys})


async def _load_people(tx: Transaction, book: Book, names: Wanted) -> None:
    """Operators with their sessions and links, and management keys. Acts alone change them, and wait for the head."""
    grant = book.grant
    operators = names.operators | ({grant.id} - {""} if grant.token or grant.identity else set())
    sessions = {one or grant.session for one in names.sessions}
    if not (
        operators or sessions or names.owner_operators or names.management_keys or names.secret or names.nonce
    ):
        return
    people = book.people
    await fetch_by(tx, people.sessions, "operator", names.operators)
    await fetch_by(tx, people.sessions, "id", sessions)
    operators |= {one.operator for one in people.sessions.values()}
    if names.owner_operators:
        await fetch(tx, people.operators, _OWNERS)
        operators |= {one.id for one in people.operators.values()}
    await fetch_by(tx, people.operators, "id", operators)
    await fetch_by(tx, people.tokens, "operator", operators)
    await fetch_by(tx, people.keys, "id", names.management_keys)
    if names.nonce:
        await fetch_by(tx, people.nonces, "id", {names.nonce})
        await fetch(tx, people.nonces, _OVER, tx.now_ms - NONCE_MARGIN_MS)
    secret = {names.secret} - {""}
    await fetch_by(tx, people.sessions, "digest", secret)
    await fetch_by(tx, people.tokens, "digest", secret)


async def _load_credits(tx: Transaction, book: Book, names: Wanted) -> None:
    if names.deposits:
        for row in await tx.fetch(_DEPOSITS_SQL + tx.among, tx.array(names.deposits)):
            book.deposits[row[0]] = row_of(Transfer, row)
    if names.references:
        where = f"reference <> '' AND reference {tx.among}"
        await fetch(tx, book.credits, where, tx.array(names.references))
    if names.calls:
        await fetch(tx, book.credits, f"call <> '' AND call {tx.among}", tx.array(names.calls))


async def _read_again(tx: Transaction, book: Book) -> None:
    await fetch_by(tx, book.profiles, "id", [one.id for one in book.profiles.values()])
    await fetch_by(tx, book.keys, "id", [one.id for one in book.keys.values()])
