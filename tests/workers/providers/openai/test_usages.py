"""Usage under any name: each vendor's place of a figure is read, and what was said is never lowered to 0."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.money.pricing import TokenUsage
from workers.providers.openai.money import is_money
from workers.providers.openai.usage import token_usage
from workers.providers.openai.usages import NAMES, Usages

PLACES = [(name, place) for name, places in NAMES for place in places]


def put(usage: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Usage with a value at a place."""
    outer, _, inner = place.partition(".")
    return usage | {outer: usage.get(outer, {}) | {inner: value} if inner else value}


def told(*usages: Any) -> TokenUsage | None:
    """What a bill is made of after these, in order."""
    reader = Usages()
    for usage in usages:
        raw = reader.told(msgspec.Raw(json.dumps(usage).encode()))
    return None if raw is None else token_usage(raw)


@pytest.mark.parametrize(("name", "place"), PLACES, ids=[f"{name}-at-{place}" for name, place in PLACES])
def test_every_place_is_read(name: str, place: str) -> None:
    """A row of NAMES is all that a vendor's name needs: the figure reaches the bill and OpenAI's own place."""
    usage = {"prompt_tokens": 100, "completion_tokens": 50}
    usage.pop(name, None)
    given = 170 if name == "total_tokens" else 30
    raw = Usages().told(msgspec.Raw(json.dumps(put(usage, place, given)).encode()))
    assert raw is not None
    shown: Any = msgspec.json.decode(raw)
    for step in name.split("."):
        shown = shown[step]
    assert shown == given


@pytest.mark.parametrize(("name", "place"), PLACES)
def test_a_later_zero_lowers_nothing(name: str, place: str) -> None:
    """Counts are running totals: zeros, nulls and gaps in a later object leave what was said; a first zero is one."""
    first = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    first = put(first, place, first.get(name, 30))
    for later in (put({}, place, 0), put({}, place, None), {}, dict.fromkeys(first, 0)):
        assert told(first, later) == told(first)
    assert told({"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}) == TokenUsage(input=7)


@pytest.mark.parametrize("odd", [1.5, -1, "x", [], {}, True, None, 2**70, "-1", 1e300])
def test_an_odd_part_costs_only_itself(odd: Any) -> None:
    """A part that is no count is not counted and not shown; the totals stand."""
    for _, place in PLACES[3:]:
        usage = put({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, place, odd)
        assert told(usage) == TokenUsage(input=10, output=5)


@pytest.mark.parametrize("odd", [1.5, -1, "x", [], {}, True, None, 2**70])
def test_an_odd_total_follows_from_the_others(odd: Any) -> None:
    """One total that is no count follows from the other two; without them the bill is estimated."""
    whole = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    for name in whole:
        assert told(whole | {name: odd}) == TokenUsage(input=10, output=5)
    assert told({"prompt_tokens": odd, "completion_tokens": 5}) is None
    assert told({"prompt_tokens": 10, "completion_tokens": odd}) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_total_decides(prompt: int, completion: int, hidden: int, reasoning: int) -> None:
    """Whatever the total has beyond its parts is output; parts never exceed their totals."""
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion + hidden,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    found = told(usage)
    assert found is not None
    assert (found.prompt, found.completion) == (prompt, completion + hidden)
    assert found.reasoning >= min(hidden, found.completion)


_any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from([name.split(".")[0] for _, name in PLACES]) | st.text(), _any),
        max_size=3,
    )
)
def test_any_usage_makes_a_bill_or_none(usages: list[dict[str, Any]]) -> None:
    """No usage object raises; what is shown has whole numbers that agree, and no money."""
    reader = Usages()
    for usage in usages:
        raw = reader.told(msgspec.Raw(msgspec.json.encode(usage)))
        if raw is not None:
            shown = msgspec.json.decode(raw)
            assert shown["total_tokens"] == shown["prompt_tokens"] + shown["completion_tokens"]
            assert not any(is_money(name) for name in shown)
            assert token_usage(raw) is not None


@pytest.mark.parametrize(
    ("name", "money"),
    [
        ("cost", True),
        ("cost_details", True),
        ("estimated_cost", True),
        ("totalPriceUSD", True),
        ("is_byok", True),
        ("credits_used", True),
        ("fee", True),
        ("search_fees", True),
        ("feedback", False),
        ("prompt_tokens", False),
        ("system_fingerprint", False),
    ],
)
def test_names_of_money(name: str, money: bool) -> None:
    """What tells an operator's cost is known by its name."""
    assert is_money(name) is money
