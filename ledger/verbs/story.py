"""Owns the story of one call as operators see it: its hold, its bill, and every try at an upstream. Reads only."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ledger.rules.rows import Hold, UsageRow, row_of
from ledger.store.base import Row, Store
from ledger.store.queries import ATTEMPTS, HOLD
from ledger.verbs.call_rows import BILL_WIDTH, call_row
from schemas.bus.usage import Try
from schemas.verbs.base import Rows

_BILL = 0  # the slot of a call's bill
_tries = msgspec.json.Decoder(list[Try]).decode


async def story(store: Store, request_id: str) -> Rows:
    """All that the books have of one call; it may run, or never have been served."""
    holds = await HOLD.fetch(store, request_id=request_id)
    if not holds:
        why = "it was refused before it had a hold, and the log of its edge says why; or it never was"
        return Rows(problem=f"there is no call {request_id} in the books: {why}", missing=True)
    hold = row_of(Hold, holds[0])
    rows = await ATTEMPTS.fetch(store, request_id=request_id)
    bills = [row for row in rows if row_of(UsageRow, row[:BILL_WIDTH]).slot == _BILL]
    told = _billed(bills[0]) if bills else _unbilled(hold)
    return Rows(({**told, "hold": _hold(hold), "tries": [one for row in rows for one in _tried(row)]},))


def _billed(row: Row) -> dict[str, Any]:
    return call_row(row_of(UsageRow, row[:BILL_WIDTH]), *row[BILL_WIDTH:-1])


def _unbilled(hold: Hold) -> dict[str, Any]:
    return {
        "request_id": hold.request_id,
        "key_id": hold.key_id,
        "model": hold.model,
        "provider": hold.provider,
        "pool": hold.pool,
        "outcome": None,
        "billed_nano": 0,
        "created": hold.created_ms // 1000,
    }


def _hold(hold: Hold) -> dict[str, Any]:
    return {
        "state": hold.state,
        "amount_nano": hold.amount_nano,
        "held_nano": hold.held_nano,
        "limit": hold.token_limit,
        "attempt": hold.attempt,
        "created": hold.created_ms / 1000,
        "closed": hold.closed_ms / 1000 if hold.closed_ms else None,
    }


def _tried(row: Sequence[Any]) -> Iterator[dict[str, Any]]:
    made = row_of(UsageRow, row[:BILL_WIDTH])
    for one in _tries(made.tries):
        yield {
            "attempt": made.attempt,
            "pool": made.pool,
            "account": one.account,
            "upstream": one.upstream,
            "outcome": one.outcome,
            "status": one.status,
            "reason": one.reason,
            "known": one.known,
            "prompt_tokens": one.usage.prompt,
            "completion_tokens": one.usage.completion,
            "uplifts": list(one.uplifts),
            "ours": made.slot != _BILL,
        }
