"""The place of `cost`: filled with an exact number once, whatever stands around it."""

from decimal import Decimal

import msgspec
import pytest

from tests.fakes.worker import job
from workers.answers.costs import cost, filled, place


def usage(*, wanted: bool) -> bytes:
    return msgspec.json.encode({"prompt_tokens": 1} | cost(job({}, include_cost=wanted)))


@pytest.mark.parametrize("nano", [0, 1, 600, 63_000, 999_999_999, 1_000_000_000, 12_345_678_901])
def test_a_figure_is_an_exact_json_number(nano: int) -> None:
    """Nano-dollars as a decimal of USD that no reader has to round."""
    data = filled(usage(wanted=True), nano)
    assert msgspec.json.decode(data, type=dict[str, Decimal])["cost"] * 10**9 == nano
    assert b"e" not in data.partition(b'"cost":')[2]


def test_what_is_not_certain_is_null() -> None:
    """No figure is better than a wrong one."""
    assert filled(usage(wanted=True), None) == b'{"prompt_tokens":1,"cost":null}'


def test_who_does_not_want_it_has_no_place() -> None:
    """Then usage is byte for byte what it was, and nothing is filled."""
    data = usage(wanted=False)
    assert data == b'{"prompt_tokens":1}'
    assert place(data) == -1
    assert filled(data, 7) == data


def test_the_place_is_found_once() -> None:
    """It is where the usage ends, and gone once it is filled."""
    data = b"before" + usage(wanted=True)
    assert data[: place(data)] == b'before{"prompt_tokens":1,"cost":'
    assert place(filled(data, 1)) == -1
