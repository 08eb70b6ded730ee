"""Sums on the command line: a table of keys has as many rows as people read, and says what it leaves out."""

from typing import Any

import pytest

from ledger.rules.rollup_rows import SUMS as FIGURES
from schemas.verbs.base import VERSION, Rows
from schemas.verbs.sums import SumsQuery
from tokn import sums
from tokn.ledger import Ledger


class OfManyKeys(Ledger):
    """A ledger with more keys than a page has."""

    def __init__(self) -> None:
        self.asked: list[SumsQuery] = []

    def ask(self, verb: Any, request: Any) -> Rows:
        """One page, the last one without a cursor."""
        self.asked.append(request)
        row = dict.fromkeys(FIGURES, 1) | {"key": f"k{len(self.asked)}"}
        more = request.largest or len(self.asked) == 1
        return Rows(
            (row,), cursor="9:0:k1" if more else 0, rest=dict.fromkeys(FIGURES, 41) if request.rest else None
        )


def test_a_table_has_the_largest_and_all_others(capsys: pytest.CaptureFixture[str]) -> None:
    """One page, the largest first, and a row for the rest."""
    asked = OfManyKeys()
    sums.print_sums(asked, SumsQuery(VERSION, by=("key",)), as_csv=False, as_json=False)
    told = capsys.readouterr().out
    assert "all others" in told
    assert " 41 " in told
    assert [(one.largest, one.rest) for one in asked.asked] == [(True, True)]


def test_csv_has_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    """Page by page, in the order of the keys."""
    asked = OfManyKeys()
    sums.print_sums(asked, SumsQuery(VERSION, by=("key",)), as_csv=True, as_json=False)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert [(one.largest, one.after) for one in asked.asked] == [(False, 0), (False, "9:0:k1")]
