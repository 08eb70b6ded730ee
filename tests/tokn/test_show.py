"""What people read of a call: everything that its JSON line has of money, tokens and time, in a few cells."""

from tokn import show

LINE = {
    "request_id": "req_1",
    "key_id": "key_0123456789abcdef",
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
    assert cells["call"].splitlines() == [
        "req_1",
        "key_0123456789abcdef",
        "gpt-4o",
        "ok, reported",
        "2026-11-18 11:06:40",
    ]
    assert cells["bill"].splitlines() == [
        "tokens: input 70, cached 20, output 40",
        "list 0.0012345 at 0.60",
        "billed 0.0007407 USD",
        "builtin:gpt-4o@0123456789ab",
        "ms: queued 3, first byte 250, all 900",
    ]
    assert "ok, reported, attempt 2" in show.call(LINE | {"attempts": 2})["call"].splitlines()


def test_a_call_fits_a_narrow_terminal(capsys, monkeypatch):
    """At 80 columns no amount and no id is broken over two lines."""
    monkeypatch.setenv("COLUMNS", "80")
    line = LINE | {"request_id": "req_" + "0" * 32, "billed_nano": 999_999_999_999_999}
    show.table(map(show.call, [line, line]), show.CALL, title="Calls", empty="")
    printed = capsys.readouterr().out
    for whole in (line["request_id"], "billed 999999.999999999 USD", "list 0.0012345 at 0.60"):
        assert printed.count(whole) == 2


def test_a_call_without_tokens():
    """A call that failed or expired has none, and says so."""
    assert "tokens: none" in show.call(LINE | {"tokens": {"input": 0}})["bill"].splitlines()


def test_a_long_list_is_cut():
    """A cell names the first few of hundreds of models, and how many more there are."""
    names = [f"m{number}" for number in range(300)]
    text = show.cell("models", names)
    assert text.startswith("m0, m1, ")
    assert text.endswith("m19 and 280 more")
    assert show.cell("models", names[:20]).endswith("m18, m19")
