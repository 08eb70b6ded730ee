"""CSV of exports: no cell is a formula, no amount loses a digit, and a group is one row however pages cut it."""

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.exports.base import csv_lines, iso, safe
from schemas.exports.focus import COLUMNS, CORRECTION, USAGE, FocusCsv, Group, Sums, piece, plain
from schemas.exports.statement import statement_csv

HOURS = 5
GROUP = Group(
    what=USAGE,
    hour=496_000,
    organization="acme",
    organization_name="",
    key_id="key_1",
    key_name="",
    model="m",
    provider="p",
    pool="p",
    period_start_s=0,
    period_end_s=1,
    invoice="",
    issuer="tokn",
    token_class="input",
)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", " =1", "\u00a0=1", "\uff1d1", "\uff20x"])
def test_formulas_are_texts(text: str) -> None:
    """What a spreadsheet would calculate begins with an apostrophe, and the rest of it is as it was."""
    assert safe(text) == f"'{text}"
    assert safe(f"\t\r\n{text}") == f"'   {text}"


@given(st.text(max_size=20))
def test_cells_read_back(text: str) -> None:
    """Any text stands in one cell of one line, and reads back as it was but for that apostrophe and what ends lines."""
    assert len(csv_lines([[safe(text), 1]]).splitlines()) == 1
    ((cell, rest),) = csv.reader(io.StringIO(csv_lines([[safe(text), 1]]), newline=""))
    assert (cell, rest) == (safe(text), "1")
    assert [one for one in cell.removeprefix("'") if one.isprintable() and one != " "] == [
        one for one in text.removeprefix("'") if one.isprintable() and one != " "
    ]


@given(st.lists(st.tuples(st.integers(0, HOURS - 1), st.integers(1, 99)), max_size=30), st.integers(1, 5))
def test_groups_are_rows(booked: list[tuple[int, int]], size: int) -> None:
    """However pages are cut, nothing is lost; in order a group is one row."""
    for order in (sorted(booked), booked):
        made = FocusCsv()
        text = made.head()
        for at in range(0, len(order), size):
            text += made.lines(
                [
                    piece(
                        replace(GROUP, hour=GROUP.hour + hour),
                        Sums(nano, Decimal(nano), Decimal(nano), Decimal(nano)),
                    )
                    for hour, nano in order[at : at + size]
                ]
            )
        rows = list(csv.DictReader(io.StringIO(text + made.tail())))
        assert sum(Decimal(row["BilledCost"]) for row in rows) * 10**9 == sum(nano for _, nano in booked)
        assert sum(int(row["ConsumedQuantity"]) for row in rows) == sum(nano for _, nano in booked)
    assert len({row["ChargePeriodStart"] for row in rows}) == len({hour for hour, _ in booked})


def test_what_is_corrected_stands_apart() -> None:
    """A correction has its class and its call, no quantity, and comes after what was kept back of usage."""
    made = FocusCsv()
    sums = Sums(1_500_000, Decimal("10.5"), Decimal("6.3"), Decimal(6))
    text = made.head() + made.lines([piece(GROUP, sums)])
    changed = replace(GROUP, what=CORRECTION, call="=req_1", hour=GROUP.hour - 9)
    text += made.lines([piece(changed, Sums(0, Decimal(0), Decimal(0), Decimal(-2)))]) + made.tail()
    usage, correction = csv.DictReader(io.StringIO(text))
    assert tuple(usage) == COLUMNS
    assert (usage["PricingQuantity"], usage["ListCost"], usage["BilledCost"]) == (
        "1.5",
        "0.0000000105",
        "0.000000006",
    )
    assert (usage["SkuMeter"], usage["ConsumedUnit"], usage["PricingUnit"]) == (
        "Input Tokens",
        "Tokens",
        "1000000 Tokens",
    )
    assert (correction["ChargeClass"], correction["BilledCost"]) == ("Correction", "-0.000000002")
    assert correction["ChargeDescription"] == "Correction of call =req_1"
    assert (correction["ConsumedQuantity"], correction["PricingCategory"]) == ("", "")


def test_figures_are_plain() -> None:
    """Amounts have no exponent and no zeros at their end, and moments their milliseconds."""
    told = [plain(Decimal(text)) for text in ("1E-9", "100", "1.50", "0", "-0.000", "1E+3")]
    assert told == ["0.000000001", "100", "1.5", "0", "0", "1000"]
    assert iso(1_795_000_000_012) == "2026-11-18T11:06:40.012Z"


def test_a_statement_as_csv() -> None:
    """The closing is the opening with all lines between, and no organisation's name is a formula."""
    line = {
        "kind": "charge",
        "key": "key_1",
        "model": "m",
        "calls": 1,
        "tokens": 2,
        "list_nano": 3,
        "amount_nano": -4,
    }
    head = {"id": "stm", "number": None, "status": "draft", "organization": "=a", "period": "2026-11"}
    text = statement_csv({**head, "opening_nano": 10, "closing_nano": 6, "lines": [line]})
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["amount_nano"]) for row in rows] == [10, -4, 6]
    assert {row["organization"] for row in rows} == {"'=a"}
