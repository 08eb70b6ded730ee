"""Owns a statement's page: all that is filled in is text, its sums are exact, and it stands alone or gets its style beside it."""

import pytest

from web.pages import Pages
from web.statement import LINES_MAX, page

EVIL = "<script>alert('1')</script>"


def statement(lines=1, **fields):
    """A statement as a ledger gives it."""
    charge = {"kind": "charge", "key": "key_1", "model": EVIL, "calls": 2, "tokens": 1_200, "list_nano": 5}
    row = {
        "organization": "acme",
        "period": "2026-11",
        "timezone": "Europe/Berlin",
        "starts_at": 1_793_487_600,
        "ends_at": 1_796_079_600,
        "created": 1_796_080_500,
        "status": "issued",
        "number": "2026-000001",
        "problem": None,
        "opening_nano": 1_000_000_000,
        "closing_nano": 999_999_997,
        "seller": {"name": EVIL, "address": "1 Road\nTown", "tax_id": "XY 12", "footer": "Thanks."},
        "buyer": {"name": "", "email": "a@example.org"},
        "lines": [{**charge, "amount_nano": -3}] * lines,
    }
    return row | fields


@pytest.fixture(scope="module")
def pages():
    return Pages()


def test_what_is_filled_in_is_text(pages):
    """No name runs a script, amounts have every digit, and the month is shown in its own zone."""
    text = page(pages, statement(), alone=True).decode()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "-$0.000000003" in text
    assert "$0.999999997" in text
    assert "2026-11-01 00:00:00 CET" in text
    assert "Statement 2026-000001" in text
    assert '<link rel="stylesheet"' not in text
    assert "@page { size: A4" in text


def test_its_style_beside_it(pages):
    """On a service's page nothing is inline: its policy would refuse it."""
    text = page(pages, statement()).decode()
    assert "<style" not in text
    assert "style=" not in text
    assert pages.assets.url("statement.css") in text


def test_a_draft_says_so(pages):
    """A draft is no invoice, and one that cannot be issued says why."""
    text = page(pages, statement(number=None, status="draft")).decode()
    assert "This is no invoice: the month has no number yet." in text
    text = page(pages, statement(number=None, problem="its closing is 1")).decode()
    assert "cannot be issued: its closing is 1" in text


def test_many_lines_are_one(pages):
    """Beyond what people read on a page the rest is one line with its sums."""
    text = page(pages, statement(lines=LINES_MAX + 3)).decode()
    assert "Usage: 3 more lines" in text
    assert text.count("<tr") == LINES_MAX + 4
    assert "-$0.000000009" in text
