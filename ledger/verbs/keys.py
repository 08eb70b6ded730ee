"""Owns the answers about keys and balances: how each is read, and which acts change them."""

from collections.abc import Sequence

from msgspec import Struct, structs

from ledger.acts import keys as acts
from ledger.commits.pepper import unhashed
from ledger.rules.keys import balance_row, key_row
from ledger.rules.missing import missing_key
from ledger.rules.rows import Account, Key, KeySecret, Status, row_of
from ledger.rules.standing import ended_ms, names_of
from ledger.store.base import Row, Store
from ledger.store.queries import (
    KEY_BY_DIGEST,
    KEY_BY_ID,
    KEY_BY_SECRET,
    KEYS_AFTER,
    KEYS_FIRST,
    KEYS_NAMED,
    SECRETS_OF_KEY,
    Query,
)
from ledger.verbs.acts import by_itself
from ledger.verbs.base import Acts, Read, Services
from schemas.verbs import keys as verbs
from schemas.verbs.base import Rows
from schemas.verbs.calls import Reason
from schemas.verbs.keys import KeyFind, KeyList, KeyQuery, KeyReply, KeysUnhashed

PAGE_MAX = 200  # rows, so that a page fits one message of the bus


_KEY_WIDTH = len(Key.__struct_fields__)
_PAIR_WIDTH = _KEY_WIDTH + len(Account.__struct_fields__)


class Opened(Struct, frozen=True):
    """What a secret opens: a key that is not revoked. `ended_ms` is when it, or the secret, ended; 0 if it lives."""

    key: Key
    account: Account
    ended_ms: int
    suspended: bool  # its organisation


async def _by_secret(store: Store, digests: Sequence[str]) -> Row | None:
    """A key, its account, its secret's end and its organisation's state, by the first digest that is somebody's."""
    for digest in digests:
        if rows := await KEY_BY_SECRET.fetch(store, digest=digest):
            return rows[0]
        # One that a ledger of the version before made has no secret beside it.
        if rows := await KEY_BY_DIGEST.fetch(store, digest=digest):
            return (*rows[0], 0, Status.ACTIVE)
    return None


async def opened(store: Store, *digests: str) -> Opened | None:
    """What a secret opens, by its digests under all peppers; None if it opens nothing."""
    found = await _by_secret(store, digests)
    if found is None:
        return None
    *pair, secret_expires_ms, owner = found
    row, account = _pair(pair)
    if row.status == Status.REVOKED:
        return None
    over_ms = ended_ms(store.now_ms(), row.expires_ms, secret_expires_ms)
    return Opened(row, account, over_ms, owner == Status.SUSPENDED and account.limited)


async def key(store: Store, *digests: str) -> KeyReply:
    """Whether a key lives, what it may use, and what it could pay for."""
    found = await opened(store, *digests)
    if found is None or found.ended_ms:
        return KeyReply(active=False, expired_ms=0 if found is None else found.ended_ms)
    row, account = found.key, found.account
    barred = Reason.PAUSED if row.status != Status.ACTIVE else ""
    if found.suspended:
        barred = barred or Reason.SUSPENDED
    return KeyReply(
        active=True,
        key_id=row.id,
        providers=names_of(row.providers),
        available_nano=account.available_nano,
        models=names_of(row.models),
        barred=barred,
    )


async def key_of(store: Store, key_id: str) -> tuple[Key, Account] | None:
    """A key and its account; None if there is no such key."""
    return await _found(store, KEY_BY_ID, key_id=key_id)


async def _found(store: Store, query: Query, **values: str) -> tuple[Key, Account] | None:
    rows = await query.fetch(store, **values)
    return _pair(rows[0]) if rows else None


def _pair(row: Row) -> tuple[Key, Account]:
    return row_of(Key, row[:_KEY_WIDTH]), row_of(Account, row[_KEY_WIDTH:_PAIR_WIDTH])


async def key_show(store: Store, key_id: str) -> Rows:
    """One key, with its secrets' hints."""
    found = await key_of(store, key_id)
    if found is None:
        return missing_key(key_id)
    secrets = [row_of(KeySecret, row) for row in await SECRETS_OF_KEY.fetch(store, key_id=key_id)]
    return Rows((key_row(*found, store.now_ms(), secrets),))


async def key_find(store: Store, request: KeyFind, *digests: str) -> Rows:
    """The one key that a name, or a secret, means."""
    if request.digest:
        found = await _by_secret(store, digests)
        rows: Sequence[Row] = () if found is None else (found,)
        what = "with this secret"
    else:
        rows = await KEYS_NAMED.fetch(store, name=request.name, limit=2)
        what = request.name
    if len(rows) > 1:
        return Rows(problem=f"several keys are called {request.name}: name one by its id (tokn key list)")
    if not rows:
        return missing_key(what)
    return Rows((key_row(*_pair(rows[0]), store.now_ms()),))


async def balance(store: Store, key_id: str) -> Rows:
    """One key's balance."""
    found = await key_of(store, key_id)
    return missing_key(key_id) if found is None else Rows((balance_row(key_id, found[1]),))


async def key_list(store: Store, query: KeyList) -> Rows:
    """A page of keys, oldest first."""
    limit, now_ms = min(max(query.limit, 1), PAGE_MAX), store.now_ms()
    filters: dict[str, str | int] = {
        "organization": query.organization,
        "status": query.status,
        "pattern": pattern(query.name),
        "now_ms": now_ms,
        "limit": limit,
    }
    if query.after:
        rows = await KEYS_AFTER.fetch(store, after=query.after, **filters)
    else:
        rows = await KEYS_FIRST.fetch(store, **filters)
    found = [_pair(row) for row in rows]
    cursor = found[-1][0].id if len(found) == limit else ""
    return Rows(tuple(key_row(*one, now_ms) for one in found), cursor=cursor)


def pattern(part: str) -> str:
    """What LIKE finds a part of a name by."""
    for sign in "\\%_":
        part = part.replace(sign, f"\\{sign}")
    return f"%{part.lower()}%"


async def _key(services: Services, request: KeyQuery) -> KeyReply:
    committer = services.committer
    reply = await key(services.store, *committer.digests(request.digest))
    return structs.replace(reply, scope=committer.scope(reply.key_id)) if reply.active else reply


KEY = Read(verb=verbs.KEY, answer=_key)
KEY_CREATE = Acts(verb=verbs.KEY_CREATE, command=by_itself(acts.KEY_CREATE))
KEY_LIST = Read(verb=verbs.KEY_LIST, answer=lambda services, request: key_list(services.store, request))
KEY_SHOW = Read(
    verb=verbs.KEY_SHOW, answer=lambda services, request: key_show(services.store, request.key_id)
)
KEY_FIND = Read(
    verb=verbs.KEY_FIND,
    answer=lambda services, request: key_find(
        services.store, request, *services.committer.digests(request.digest)
    ),
)


async def _unhashed(services: Services, _request: KeysUnhashed) -> Rows:
    return Rows((await unhashed(services.store, services.committer.peppers),))


KEY_UNHASHED = Read(verb=verbs.KEY_UNHASHED, answer=_unhashed)
KEY_UPDATE = Acts(verb=verbs.KEY_UPDATE, command=by_itself(acts.KEY_UPDATE))
KEY_ROTATE = Acts(verb=verbs.KEY_ROTATE, command=by_itself(acts.KEY_ROTATE))
KEY_REVOKE = Acts(verb=verbs.KEY_REVOKE, command=by_itself(acts.KEY_REVOKE))
CREDIT = Acts(verb=verbs.CREDIT, command=by_itself(acts.CREDIT))
BALANCE = Read(verb=verbs.BALANCE, answer=lambda services, request: balance(services.store, request.key_id))
