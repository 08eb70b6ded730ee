"""Owns the answers with ended calls: pages of them, and the receipt of one. Reads only."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ledger.rules.missing import missing_key
from ledger.rules.rows import USAGE_BLOCK, Hold, HoldState, UsageRow, row_of
from ledger.store.base import Row, Store
from ledger.store.queries import CALLS, CALLS_OF_KEY, HOLD, NEWEST_CALL, RECEIPT
from ledger.verbs.base import Read, Services
from ledger.verbs.call_rows import BILL_WIDTH, call_row
from ledger.verbs.keys import PAGE_MAX, key, key_of
from ledger.verbs.story import story
from schemas.money.amounts import nano_to_usd
from schemas.verbs import usage as verbs
from schemas.verbs.base import Rows
from schemas.verbs.usage import GenerationQuery, GenerationReply, UsageQuery

_BLOCKS_AT_ONCE = 256  # of the index of calls by key, in one query
_tries = msgspec.json.Decoder(list[Any]).decode
_names = msgspec.json.Decoder(list[str]).decode


async def usage(store: Store, query: UsageQuery) -> Rows:
    """A page of calls, newest first."""
    limit = min(max(query.limit, 1), PAGE_MAX)
    before = query.before or 2**62
    rows: Sequence[Row]
    if query.key_id:
        if await key_of(store, query.key_id) is None:
            return missing_key(query.key_id)
        rows = await _usage_of(store, query.key_id, before, limit)
    else:
        rows = await CALLS.fetch(store, before=before, limit=limit)
    cursor = rows[-1][-1] if len(rows) == limit else 0
    return Rows(
        tuple(call_row(row_of(UsageRow, row[:BILL_WIDTH]), *row[BILL_WIDTH:-1]) for row in rows),
        cursor=cursor,
    )


async def _usage_of(store: Store, key_id: str, before: int, limit: int) -> list[Row]:
    """Walks the blocks of the index from the newest; more of them at a time, the fewer calls the key has."""
    newest = (await NEWEST_CALL.fetch(store))[0][0]
    block, span = min(newest, before - 1) // USAGE_BLOCK, 1
    found: list[Row] = []
    while block >= 0 and len(found) < limit:
        oldest = max(block - span + 1, 0)
        found += await CALLS_OF_KEY.fetch(
            store,
            key_id=key_id,
            before=before,
            limit=limit - len(found),
            oldest_block=oldest,
            newest_block=block,
        )
        block, span = oldest - 1, min(span * 4, _BLOCKS_AT_ONCE)
    return found


async def receipt(store: Store, key_id: str, request_id: str) -> dict[str, Any] | None:
    """All about one ended call of a key; None if it has no such call."""
    rows = await RECEIPT.fetch(store, request_id=request_id)
    hold = row_of(Hold, rows[0][BILL_WIDTH:-4]) if rows else None
    if hold is None or hold.key_id != key_id:
        return None
    bill = row_of(UsageRow, rows[0][:BILL_WIDTH])
    upstream, rate, price_ref, price = rows[0][-4:]
    return {
        **call_row(bill, rate, price_ref, price),
        "id": hold.request_id,
        "asked": _names(hold.asked) if hold.asked else [hold.model],
        "upstream": upstream,
        "list_usd": nano_to_usd(bill.list_nano),
        "cost_usd": nano_to_usd(bill.billed_nano),
        "held_nano": hold.amount_nano,
        "tries": [_try_row(one) for one in _tries(bill.tries)],
    }


def _try_row(one: Sequence[Any]) -> dict[str, Any]:
    # Which account served is the operator's business; a caller sees how the tries went.
    return {"upstream": one[1], "outcome": one[2], "status": one[3]}


async def _generation(services: Services, request: GenerationQuery) -> GenerationReply:
    found = await key(services.store, *services.committer.digests(request.digest))
    if not found.active:
        return GenerationReply(active=False, receipt=None, expired_ms=found.expired_ms)
    told, running = await receipt(services.store, found.key_id, request.request_id), False
    if told is None:
        state = await _state(services.store, found.key_id, request.request_id)
        running = state == HoldState.OPEN
        if state not in {HoldState.OPEN, ""}:  # it was billed between the two reads
            told = await receipt(services.store, found.key_id, request.request_id)
    return GenerationReply(active=True, receipt=told, running=running)


async def _state(store: Store, key_id: str, request_id: str) -> str:
    """The state of a hold of a key; "" if it has none of that id."""
    rows = await HOLD.fetch(store, request_id=request_id)
    hold = row_of(Hold, rows[0]) if rows else None
    return hold.state if hold is not None and hold.key_id == key_id else ""


async def _usage(services: Services, request: UsageQuery) -> Rows:
    if request.request_id:
        return await story(services.store, request.request_id)
    return await usage(services.store, request)


USAGE = Read(verb=verbs.USAGE, answer=_usage)
GENERATION = Read(verb=verbs.GENERATION, answer=_generation)
