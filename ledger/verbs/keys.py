"""Owns the answers about keys and balances: how each is read, and which acts change them."""

from msgspec import structs

from ledger.acts import keys as acts
from ledger.rules.authorise import ACTIVE, providers_of
from ledger.rules.keys import balance_row, key_row, missing
from ledger.rules.rows import Account, Key, row_of
from ledger.store.base import Row, Store
from ledger.store.queries import KEY_BY_DIGEST, KEY_BY_ID, KEYS_AFTER, KEYS_FIRST, Query
from ledger.verbs.acts import by_itself
from ledger.verbs.base import Acts, Read, Services
from schemas.verbs import keys as verbs
from schemas.verbs.base import Rows
from schemas.verbs.keys import KeyList, KeyQuery, KeyReply

PAGE_MAX = 200  # rows, so that a page fits one message of the bus


_KEY_WIDTH = len(Key.__struct_fields__)


async def key(store: Store, digest: str) -> KeyReply:
    """Whether a key lives, what it may use, and what it could pay for."""
    found = await _found(store, KEY_BY_DIGEST, digest=digest)
    if found is None or found[0].status != ACTIVE:
        return KeyReply(active=False)
    row, account = found
    return KeyReply(
        active=True,
        key_id=row.id,
        providers=providers_of(row),
        available_nano=account.available_nano,
    )


async def key_of(store: Store, key_id: str) -> tuple[Key, Account] | None:
    """A key and its account; None if there is no such key."""
    return await _found(store, KEY_BY_ID, key_id=key_id)


async def _found(store: Store, query: Query, **values: str) -> tuple[Key, Account] | None:
    rows = await query.fetch(store, **values)
    return _pair(rows[0]) if rows else None


def _pair(row: Row) -> tuple[Key, Account]:
    return row_of(Key, row[:_KEY_WIDTH]), row_of(Account, row[_KEY_WIDTH:])


async def key_show(store: Store, key_id: str) -> Rows:
    """One key."""
    found = await key_of(store, key_id)
    return missing(f"key {key_id}") if found is None else Rows((key_row(*found),))


async def balance(store: Store, key_id: str) -> Rows:
    """One key's balance."""
    found = await key_of(store, key_id)
    return missing(f"key {key_id}") if found is None else Rows((balance_row(key_id, found[1]),))


async def key_list(store: Store, query: KeyList) -> Rows:
    """A page of keys, oldest first."""
    limit = min(max(query.limit, 1), PAGE_MAX)
    if query.after:
        rows = await KEYS_AFTER.fetch(store, after=query.after, limit=limit)
    else:
        rows = await KEYS_FIRST.fetch(store, limit=limit)
    found = [_pair(row) for row in rows]
    cursor = found[-1][0].id if len(found) == limit else ""
    return Rows(tuple(key_row(*one) for one in found), cursor=cursor)


async def _key(services: Services, request: KeyQuery) -> KeyReply:
    committer = services.committer
    reply = await key(services.store, committer.digest(request.digest))
    return structs.replace(reply, scope=committer.scope(reply.key_id)) if reply.active else reply


KEY = Read(verb=verbs.KEY, answer=_key)
KEY_CREATE = Acts(verb=verbs.KEY_CREATE, command=by_itself(acts.KEY_CREATE))
KEY_LIST = Read(verb=verbs.KEY_LIST, answer=lambda services, request: key_list(services.store, request))
KEY_SHOW = Read(
    verb=verbs.KEY_SHOW, answer=lambda services, request: key_show(services.store, request.key_id)
)
KEY_REVOKE = Acts(verb=verbs.KEY_REVOKE, command=by_itself(acts.KEY_REVOKE))
CREDIT = Acts(verb=verbs.CREDIT, command=by_itself(acts.CREDIT))
BALANCE = Read(verb=verbs.BALANCE, answer=lambda services, request: balance(services.store, request.key_id))
