"""What people read of a call: everything that its JSON line has of money, tokens and time, in a few cells."""

from tokn import show

LINE = {
    "request_id": "req_1",
    "model": "gpt-4o",
    "outcome": "ok",
    "known": "reported",
    "tokens": {"input": 70, "cached": 20, "cache_write": 0, "output": 40},
    "list_nano": 1_234_500,
    "rate": "0.60",
    "billed_nano": 740_700,
    "price_ref": "builtin:gpt-4o@0123456789ab",
    "attempts": 1,
    "queued_ms": 3,
    "first_byte_ms": 250,
    "duration_ms": 900,
    "created": 1_795_000_000,
}


def test_a_call_in_cells():
    """Tokens by class without those that are zero, list price, rate and bill, the price row, and where the time went."""
    cells = show.call(LINE)
    assert show.cell("tokens", cells["tokens"]) == "input 70, cached 20, output 40"
    assert cells["USD"] == "list 0.0012345, rate 0.60, billed 0.0007407"
    assert cells["price"] == "builtin:gpt-4o@0123456789ab"
    assert cells["ms"] == "queued 3, first byte 250, all 900"
    assert cells["outcome"] == "ok, reported"
    assert show.call(LINE | {"attempts": 2})["outcome"] == "ok, reported, attempt 2"


def test_a_call_without_tokens():
    """A call that failed or expired has none, and says so."""
    assert show.cell("tokens", show.call(LINE | {"tokens": {"input": 0}})["tokens"]) == "-"
