"""Owns a call's bill as commands and receipts show it."""

from typing import Any

import msgspec
from msgspec.structs import asdict

from ledger.rules.rows import UsageRow

BILL_WIDTH = len(UsageRow.__struct_fields__)  # of a row that begins with a bill's columns


def call_row(bill: UsageRow, rate: str, price_ref: str, price: str | None) -> dict[str, Any]:
    """A call as commands and receipts show it: tokens in OpenAI's two sums and by class, money, price row, times."""
    used = bill.usage
    return {
        "request_id": bill.request_id,
        "key_id": bill.key_id,
        "model": bill.model,
        "provider": bill.provider,
        "pool": bill.pool,
        "outcome": bill.outcome,
        "known": bill.known,
        "prompt_tokens": used.prompt,
        "cached_tokens": used.cached + used.cached_audio,
        "cache_write_tokens": used.cache_write + used.cache_write_long,
        "completion_tokens": used.completion,
        "reasoning_tokens": used.reasoning,
        "tokens": asdict(used),
        "list_nano": bill.list_nano,
        "rate": rate,
        "billed_nano": bill.billed_nano,
        "refunded_nano": bill.refunded_nano,
        "net_nano": bill.billed_nano - bill.refunded_nano,
        "uncollected_nano": bill.uncollected_nano,
        "price_ref": price_ref,
        "price": msgspec.json.decode(price) if price else None,
        "uplifts": msgspec.json.decode(bill.uplifts),
        "attempts": bill.attempt,
        "queued_ms": bill.queued_ms,
        "first_byte_ms": bill.first_byte_ms,
        "duration_ms": bill.duration_ms,
        "created": bill.created_ms // 1000,
    }
