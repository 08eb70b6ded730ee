"""What people read of a model: one row in three cells that fit a narrow terminal, and how old the catalogue is."""

import tomllib
from datetime import date
from pathlib import Path

import pytest

from runtime.catalogue.age import SOURCES, as_of
from tests.fakes.tokn import ask
from tokn import show
from tokn.models import COLUMNS, age_lines, cells

ROOT = Path(__file__).resolve().parents[2]
TIER = {"above_prompt_tokens": 0, "input": "2.5", "output": "10"}
ROW = {
    "id": "gpt-4o",
    "provider": "openai",
    "pool": "openai",
    "pools": ["openai", "spare"],
    "state": "deprecated",
    "context_window": 128_000,
    "shutdown_date": "2027-01-14",
    "successor": "gpt-6.1-sol",
    "pricing": {"list": [TIER, TIER], "billed": [TIER | {"input": "1.5", "output": "6"}] * 2},
    "sources": "agree",
    "as_of": "2026-11-25",
}
UNKNOWN = dict.fromkeys(ROW) | {"id": "embed", "pools": [], "state": "no_route"}


def test_a_model_in_cells():
    """Id, provider, pools and window; list and billed price, with how it was found; state, end and successor."""
    assert [cells(ROW)[column].splitlines() for column in COLUMNS] == [
        ["gpt-4o", "  openai · openai, spare · 128000"],
        ["2.5 / 10, tiers (agree)", "billed 1.5 / 6"],
        ["deprecated", "2027-01-14", "use gpt-6.1-sol"],
    ]
    assert list(cells(UNKNOWN).values()) == ["embed", "-", "no route"]


def test_the_table_fits_a_narrow_terminal(capsys, monkeypatch):
    """No line is longer than 80 columns, however long an id is, and no amount is cut."""
    monkeypatch.setenv("COLUMNS", "80")
    long = ROW | {"id": "accounts/fireworks/models/" + "x" * 90, "successor": "y" * 90}
    show.table(map(cells, [ROW, long, UNKNOWN]), COLUMNS, title="3 models", empty="")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.count("billed 1.5 / 6") == 2
    assert all(len(line) <= 80 for line in age_lines([ROW], date(2030, 1, 1)))


@pytest.mark.parametrize(("day", "age"), [(25, "0 days"), (26, "1 day"), (27, "2 days")])
def test_the_last_line_says_how_old_the_catalogue_is(day, age):
    """The day that its sources were read on, and which these are; before it, how the shown prices were found."""
    rows = [ROW, ROW, ROW | {"sources": "pinned"}, UNKNOWN]
    assert age_lines(rows, date(2026, 11, day)) == [
        "Prices: agree 2, pinned 1.",
        f"Catalogue of 2026-11-25, {age} old, from genai-prices, litellm and pi-ai.",
    ]
    assert age_lines([UNKNOWN], as_of())[0].startswith(f"Catalogue of {as_of()}, 0 days old")


def test_the_sources_that_are_named_are_those_of_the_catalogue():
    """What the command names is what the catalogue's lock has."""
    lock = tomllib.loads((ROOT / "tools/catalogue/data/catalogue.lock").read_text())
    assert set(SOURCES) == lock["sources"].keys()


@pytest.mark.parametrize(
    "words",
    [
        ("models", "--state", "nonsense"),
        ("models", "--limit", "0"),
        ("models", "--expiring", "-1"),
        ("models", "--json", "explain", "gpt-4o"),
        ("models", "explain"),
    ],
)
def test_wrong_usage(words):
    """Exit code 2, before any ledger is looked for; an option of the wrong place is not ignored."""
    done = ask(*words)
    assert done.returncode == 2
    assert not done.stdout
