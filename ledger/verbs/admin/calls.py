"""Owns the reads of calls through a console: pages of those that have ended, and all that the books have of one."""

import hmac
import struct
from collections.abc import Sequence
from typing import Any

from ledger.rules.act_rows import Credit
from ledger.rules.counted import counted
from ledger.rules.grants import Grant
from ledger.rules.missing import missing
from ledger.rules.rows import Candidate, Hold, Key, UsageRow, row_of
from ledger.store.base import Row, Store
from ledger.store.queries import ATTEMPTS, HOLD, NEWEST_CALL
from ledger.verbs.admin.base import NO_SUCH_START, Reading, Where, bound, one, selected, size_of
from ledger.verbs.admin.credits import shown as shown_credits
from ledger.verbs.base import Services
from ledger.verbs.call_rows import BILL_WIDTH, call_row
from ledger.verbs.story import story
from schemas.admin import reads
from schemas.admin.reads import CallRef, CallsQuery
from schemas.verbs.base import Rows

WINDOW = 25_000  # rows of calls that are looked through at once
WINDOWS_MAX = 4  # for one page; then it ends, and says where the next begins
PLACE = "at_"  # a cursor that is no call's id
_ROUNDS = 4
_PLACE = struct.Struct(">II")
_SQL = f"""
    SELECT {selected(UsageRow, "u")}, COALESCE(c.rate, h.rate), COALESCE(c.price_ref, h.price_ref), p.body, u.seq, k.profile
    FROM usage AS u JOIN api_keys AS k ON k.id = u.key_id LEFT JOIN holds AS h ON h.request_id = u.request_id
    LEFT JOIN candidates AS c ON c.request_id = h.request_id AND c.place = h.candidate
    LEFT JOIN prices AS p ON p.ref = COALESCE(c.price_ref, h.price_ref)
    WHERE u.slot = 0 AND """  # noqa: S608  made of our own column names
_FIRST_SQL = "SELECT COALESCE(MIN(seq), 0) FROM usage"
assert Candidate.TABLE == "candidates" and Hold.TABLE == "holds"  # noqa: S101, PT018  the names of the join


def _round(secret: bytes, number: int, half: int) -> int:
    told = hmac.digest(secret, b"cursor" + bytes((number,)) + half.to_bytes(4, "big"), "sha256")
    return int.from_bytes(told[:4], "big")


def sealed(secret: bytes, place: int) -> str:
    """A place among all calls as a cursor: nobody reads from it how many calls there are, others' included."""
    left, right = _PLACE.unpack(place.to_bytes(8, "big"))
    for number in range(_ROUNDS):
        left, right = right, left ^ _round(secret, number, right)
    return PLACE + _PLACE.pack(left, right).hex()


def unsealed(secret: bytes, cursor: str) -> int | None:
    """The place that a cursor stands for; None if it is none."""
    try:
        left, right = _PLACE.unpack(bytes.fromhex(cursor.removeprefix(PLACE)))
    except (ValueError, struct.error):
        return None
    for number in reversed(range(_ROUNDS)):
        left, right = right ^ _round(secret, number, left), left
    place = int.from_bytes(_PLACE.pack(left, right), "big")
    return place if place < 2**62 else None


def _filters(query: CallsQuery, organization: str) -> Where:
    where = Where()
    named = {
        "k.profile": organization,
        "u.key_id": query.key,
        "u.model": query.model,
        "u.pool": query.pool,
        "u.outcome": query.outcome,
        "u.known": query.known,
    }
    for column, value in named.items():
        if value:
            where.add(f"{column} = {{}}", value)
    if query.created_gte_s:
        where.add("u.created_ms >= {}", query.created_gte_s * 1000)
    if query.created_lt_s:
        where.add("u.created_ms < {}", query.created_lt_s * 1000)
    return where


async def _start(services: Services, query: CallsQuery, organization: str) -> int | None:
    """The place that a page begins before; None where it cannot begin."""
    store = services.store
    if not query.after:
        return int((await NEWEST_CALL.fetch(store))[0][0]) + 1
    if query.after.startswith(PLACE):
        return unsealed(services.committer.secret, query.after)
    rows = await ATTEMPTS.fetch(store, request_id=query.after)
    bills = [row for row in rows if row_of(UsageRow, row[:BILL_WIDTH]).slot == 0]
    if not bills:
        return None
    key = await one(store, Key, row_of(UsageRow, bills[0][:BILL_WIDTH]).key_id)
    seen = key is not None and organization in ("", key.profile)
    return int(bills[0][-1]) if seen else None


async def _calls(services: Services, grant: Grant, query: CallsQuery) -> Rows:
    organization = bound(grant, query.organization)
    if organization is None:
        return Rows()
    before = await _start(services, query, organization)
    if before is None:
        return NO_SUCH_START
    store, size = services.store, size_of(query.limit)
    first = int((await store.fetch(_FIRST_SQL))[0][0])
    found: list[Row] = []
    windows = 0
    while before > first and len(found) <= size and windows < WINDOWS_MAX:
        where, floor = _filters(query, organization), max(before - WINDOW, 0)
        where.add("u.seq >= {} AND u.seq < {}", floor, before)
        page = f"{where.sql} ORDER BY u.seq DESC LIMIT {size + 1 - len(found)}"
        found += await store.fetch(_SQL + page, *where.values)
        before, windows = floor, windows + 1
    rows = tuple(shown(row) for row in found[:size])
    if len(found) > size:
        return Rows(rows, cursor=rows[-1]["id"])
    return Rows(rows, cursor=sealed(services.committer.secret, before) if before > first else "")


def shown(row: Sequence[Any]) -> dict[str, Any]:
    """A call as the console shows it."""
    bill = row_of(UsageRow, row[:BILL_WIDTH])
    told = call_row(bill, *row[BILL_WIDTH:-2])
    return told | {
        "object": "call",
        "id": bill.request_id,
        "key": bill.key_id,
        "organization": row[-1],
        "final": bool(bill.bill_final),
    }


async def _call(services: Services, grant: Grant, form: CallRef) -> Rows:
    store = services.store
    rows = await HOLD.fetch(store, request_id=form.id)
    hold = row_of(Hold, rows[0]) if rows else None
    key = await one(store, Key, hold.key_id) if hold is not None and hold.key_id else None
    if hold is None or key is None or grant.organization not in ("", key.profile):
        return missing("such call")
    told = dict((await story(store, form.id)).rows[0])
    attempts = await ATTEMPTS.fetch(store, request_id=form.id)
    bills = [row_of(UsageRow, row[:BILL_WIDTH]) for row in attempts]
    if grant.organization:  # whose account served, and what we paid, is ours to know
        told["tries"] = [
            {name: value for name, value in each.items() if name != "account"} for each in told["tries"]
        ]
    told |= {
        "object": "call",
        "id": hold.request_id,
        "key": hold.key_id,
        "organization": key.profile,
        "upstream": hold.upstream,
        "held_nano": hold.amount_nano,
        "cost_nano": None if grant.organization else sum(bill.cost_nano for bill in bills),
        "final": any(bill.slot == 0 and bill.bill_final for bill in bills),
        "caps": sorted(id_.partition("@")[0] for id_ in counted(hold).p) if hold.limits else [],
    }
    return Rows((told,))


async def refunds_of(store: Store, request_id: str) -> tuple[dict[str, Any], ...]:
    """The refunds of a call, the first one first."""
    rows = await store.fetch(
        f"SELECT {selected(Credit, 'r')} FROM credits AS r WHERE r.call <> '' AND r.call = $1 ORDER BY r.number",  # noqa: S608  made of our own column names
        request_id,
    )
    return await shown_credits(store, [row_of(Credit, row) for row in rows])


CALLS = Reading(question=reads.CALLS, answer=_calls, kind="call")
CALL = Reading(question=reads.CALL, answer=_call, kind="call")
