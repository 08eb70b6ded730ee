"""Owns the reads of keys through a console: pages of them, and one with its secrets' hints."""

from typing import Any

from ledger.rollups.sql import DAY_MS
from ledger.rules.grants import Grant
from ledger.rules.keys import key_row
from ledger.rules.missing import missing
from ledger.rules.rows import Account, Key, KeySecret, Status, row_of
from ledger.rules.standing import EXPIRED
from ledger.store.base import Store
from ledger.store.statements import columns, table_of
from ledger.verbs.admin.base import Reading, Where, bound, newest, one, selected
from ledger.verbs.base import Services
from ledger.verbs.keys import pattern
from schemas.admin import reads
from schemas.admin.reads import KeysQuery
from schemas.verbs.base import Rows
from schemas.verbs.keys import KeyRef

_ACCOUNTS_SQL = f"SELECT {selected(Account, 'r')} FROM accounts AS r WHERE r.id "  # noqa: S608  made of our own column names
_SECRETS_SQL = f"SELECT {columns(table_of(KeySecret))} FROM key_secrets WHERE key_id "  # noqa: S608  as above
_USED_SQL = "SELECT key_id, MAX(day) FROM usage_days WHERE key_id "
_OPENED_SQL = "SELECT key_id FROM key_secrets WHERE digest "


def _status(where: Where, status: str, now_ms: int) -> None:
    over = "(r.expires_ms > 0 AND r.expires_ms <= {})"
    if status == EXPIRED:
        where.add(f"r.status <> {{}} AND {over}", Status.REVOKED, now_ms)
    elif status == Status.REVOKED:
        where.add("r.status = {}", status)
    elif status:
        where.add(f"r.status = {{}} AND NOT {over}", status, now_ms)


async def shown(store: Store, keys: list[Key]) -> tuple[dict[str, Any], ...]:
    """Keys as the console shows them: with their balances, secrets' hints, and the day of their last call."""
    ids = [key.id for key in keys]
    accounts = await store.fetch(_ACCOUNTS_SQL + store.among, store.array({key.account_id for key in keys}))
    by_id = {row[0]: row_of(Account, row) for row in accounts}
    secrets: dict[str, list[KeySecret]] = {id_: [] for id_ in ids}
    for row in await store.fetch(_SECRETS_SQL + store.among, store.array(ids)):
        secret = row_of(KeySecret, row)
        secrets[secret.key_id].append(secret)
    used = await store.fetch(f"{_USED_SQL}{store.among} GROUP BY key_id", store.array(ids))
    days = {row[0]: row[1] * DAY_MS // 1000 for row in used}
    now_ms = store.now_ms()
    return tuple(
        key_row(key, by_id[key.account_id], now_ms, secrets[key.id])
        | {"object": "key", "last_used_at": days.get(key.id)}
        for key in keys
    )


async def visible(store: Store, grant: Grant, key_id: str) -> Key | None:
    """A key that a grant may see; None if there is none."""
    key = await one(store, Key, key_id)
    return key if key is not None and grant.organization in ("", key.profile) else None


async def _keys(services: Services, grant: Grant, query: KeysQuery) -> Rows:
    organization = bound(grant, query.organization)
    if organization is None:
        return Rows()
    store, where = services.store, Where()
    if organization:
        where.add("r.profile = {}", organization)
    _status(where, query.status, store.now_ms())
    if query.name:
        where.add("LOWER(r.name) LIKE {} ESCAPE '\\'", pattern(query.name))
    if query.digest:
        digests = services.committer.digests(query.digest)
        rows = await store.fetch(_OPENED_SQL + store.among, store.array(digests))
        where.add("r.id = {}", rows[0][0] if rows else "")
    found = await newest(store, Key, where, limit=query.limit, after=query.after)
    if isinstance(found, Rows):
        return found
    return Rows(await shown(store, found[0]), cursor=found[1])


async def _key(services: Services, grant: Grant, form: KeyRef) -> Rows:
    key = await visible(services.store, grant, form.key_id)
    return missing("such key") if key is None else Rows(await shown(services.store, [key]))


KEYS = Reading(question=reads.KEYS, answer=_keys, kind="key")
KEY = Reading(question=reads.KEY, answer=_key, kind="key")
