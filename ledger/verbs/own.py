"""Owns the answers to a key's holder: the key, its money, and what it has used. Reads only."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ledger.rollups.reading import sums
from ledger.rollups.sql import DAY_MS, Rollup
from ledger.rules.limits.base import key_scope
from ledger.rules.limits.setting import limits_row
from ledger.rules.rollup_rows import UsageDay
from ledger.rules.rows import Account, Key, KeySecret, row_of
from ledger.rules.standing import names_of
from ledger.store.base import Store
from ledger.store.queries import ATTEMPTS, SECRETS_OF_KEY
from ledger.verbs.base import Read, Services
from ledger.verbs.keys import PAGE_MAX, opened
from ledger.verbs.usage import usage
from schemas.verbs import self as verbs
from schemas.verbs.self import ActivityAsk, CallsAsk, CreditsAsk, KeyAsk, SelfQuery, SelfReply
from schemas.verbs.usage import UsageQuery

ACTIVITY_DAYS = 30
PAGES_MAX = 10  # of calls that are looked through for one page of those asked for
_DAYS = Rollup(UsageDay)
_CAPS = (
    "SELECT c.id, c.period, c.limit_nano, COALESCE(p.spent_nano, 0), COALESCE(p.held_nano, 0) FROM caps c "
    "LEFT JOIN cap_periods p ON p.cap_id = c.id AND p.start_ms <= $1 AND (p.end_ms = 0 OR p.end_ms > $2) "
    "WHERE c.ended_ms = 0 AND c.scope = $3"
)


async def _key(store: Store, key: Key, account: Account, digests: Sequence[str]) -> dict[str, Any]:
    today = datetime.fromtimestamp(store.now_ms() / 1000, UTC).date()
    used = {row["day"]: row for row in await sums(store, _DAYS, ("day",), "key_id = $1", key.id)}
    epoch = date(1970, 1, 1)

    def since(first: date) -> int:
        begin = (first - epoch).days
        return sum(row["billed_nano"] - row["refunded_nano"] for day, row in used.items() if day >= begin)

    return {
        "id": key.id,
        "name": key.name,
        "hint": await _hint(store, key, digests),
        "organization": key.profile,
        "status": key.status,
        "account": account.id,
        "posted_nano": account.posted_nano,
        "held_nano": account.held_nano,
        "available_nano": account.available_nano,
        "spent_nano": account.spent_nano,
        "used_nano": since(epoch),
        "used_day_nano": since(today),
        "used_week_nano": since(today - timedelta(days=today.weekday())),
        "used_month_nano": since(today.replace(day=1)),
        "providers": names_of(key.providers),
        "expires": key.expires_ms // 1000 or None,
        "created": key.created_ms // 1000,
        "limits": {name: value for name, value in limits_row(key).items() if name != "id"},
        "cap": await _tightest(store, key),
    }


async def _hint(store: Store, key: Key, digests: Sequence[str]) -> str:
    """The last four characters of the secret that was shown: a key that is rotated has two. "" if they are not known."""
    secrets = [row_of(KeySecret, row) for row in await SECRETS_OF_KEY.fetch(store, key_id=key.id)]
    return next((one.hint for one in secrets if one.digest in digests), "")


async def _tightest(store: Store, key: Key) -> dict[str, Any] | None:
    """The key's own cap that leaves the least: what its organisation may spend is not for each of its keys to know."""
    now_ms = store.now_ms()
    rows = await store.fetch(_CAPS, now_ms, now_ms, key_scope(key.id))
    found = [
        {"id": row[0], "period": row[1], "limit_nano": row[2], "left_nano": max(row[2] - row[3] - row[4], 0)}
        for row in rows
    ]
    return min(found, key=lambda cap: cap["left_nano"], default=None)


async def _activity(store: Store, key: Key, ask: ActivityAsk) -> SelfReply:
    today = store.now_ms() // DAY_MS
    begin = ask.day or today - ACTIVITY_DAYS
    end = ask.day or today - 1
    if not today - ACTIVITY_DAYS <= begin < today:
        return SelfReply(
            active=True, problem=f"the date must be one of the last {ACTIVITY_DAYS} whole days (UTC)"
        )
    where = f"key_id = $1 AND day >= {begin} AND day <= {end}"
    rows = await sums(store, _DAYS, ("day", "model", "provider"), where, key.id)
    return SelfReply(active=True, rows=tuple(rows))


async def _calls(store: Store, key: Key, ask: CallsAsk) -> SelfReply:
    limit = min(max(ask.limit, 1), PAGE_MAX)
    before = 0
    if ask.after:
        rows = await ATTEMPTS.fetch(store, request_id=ask.after)
        if not rows or rows[0][3] != key.id:
            return SelfReply(active=True, problem="starting_after must be the id of one of this key's calls")
        before = rows[0][-1]
    found: list[dict[str, Any]] = []
    for _ in range(PAGES_MAX):
        page = await usage(store, UsageQuery(1, key.id, PAGE_MAX if ask.model else limit + 1, before))
        for row in page.rows:
            if row["created"] < ask.created_gte_s:
                return SelfReply(active=True, rows=tuple(found))
            if len(found) == limit:
                return SelfReply(active=True, rows=tuple(found), more=True, next=found[-1]["request_id"])
            if (not ask.created_lt_s or row["created"] < ask.created_lt_s) and ask.model in {
                "",
                row["model"],
            }:
                found.append(row)
        if not page.cursor:
            return SelfReply(active=True, rows=tuple(found))
        before = int(page.cursor)
    last = page.rows[-1]["request_id"]  # nothing more was found so far; the next page begins here
    return SelfReply(active=True, rows=tuple(found), more=True, next=last)


async def _self(services: Services, request: SelfQuery) -> SelfReply:
    store = services.store
    digests = services.committer.digests(request.digest)
    found = await opened(store, *digests)
    if found is None or found.ended_ms:  # a paused key may read, and one without money
        return SelfReply(active=False, expired_ms=0 if found is None else found.ended_ms)
    key, account = found.key, found.account
    match request.ask:
        case KeyAsk():
            return SelfReply(active=True, rows=(await _key(store, key, account, digests),))
        case CreditsAsk():
            money = {"posted_nano": account.posted_nano, "spent_nano": account.spent_nano}
            return SelfReply(active=True, rows=(money,))
        case ActivityAsk() as ask:
            return await _activity(store, key, ask)
        case CallsAsk() as ask:
            return await _calls(store, key, ask)


SELF = Read(verb=verbs.SELF, answer=_self)
