"""Every token class of Anthropic's, and the bill for it, computed by hand to the nano-dollar."""

import json
from decimal import Decimal

import pytest

from schemas.catalogue.builtin import BUILTIN
from schemas.money.pricing import TokenUsage, charge
from tests.fakes.anthropic import ending, opening, texts, whole
from tests.workers.providers.anthropic.cases import chunks, exchange, job, play, stream_job
from workers.answers.costs import filled

SONNET = next(model for model in BUILTIN if model.id == "claude-3-5-sonnet-20241022").prices[0]
# Sonnet: input 3.00, cached 0.30, write 3.75, write 1 h 6.00, output 15.00 USD a million; 0.60 of it is billed.
TABLE = [
    # usage of the API's; classes; nano-dollars at the rate of 0.60
    ({"input_tokens": 10, "output_tokens": 5}, TokenUsage(input=10, output=5), 63_000),
    ({"input_tokens": 0, "output_tokens": 0}, TokenUsage(), 0),
    (
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 5,
            "cache_read_input_tokens": 100,
            "output_tokens": 42,
        },
        TokenUsage(input=10, cached=100, cache_write=5, output=42),
        425_250,
    ),
    (
        {
            "input_tokens": 1,
            "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            "output_tokens": 1,
        },
        TokenUsage(input=1, cache_write=10, cache_write_long=20, output=1),
        105_300,
    ),
    (
        {"input_tokens": 7, "output_tokens": 42, "output_tokens_details": {"thinking_tokens": 7}},
        TokenUsage(input=7, output=35, reasoning=7),
        390_600,
    ),
    (
        {
            "input_tokens": 3,
            "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6},
            "output_tokens": 1,
        },
        TokenUsage(input=3, cache_write=4, cache_write_long=6, output=1),
        45_000,
    ),
]


@pytest.mark.parametrize(("usage", "classes", "nano"), TABLE)
@pytest.mark.parametrize("stream", [True, False])
def test_c01_bills_to_the_nano_dollar(usage, classes, nano, stream):
    """Each token is in one class and priced once, streamed or not, and OpenAI's totals add up."""
    events = (opening(**usage), *texts("Hi"), *ending(**usage))
    if stream:
        made = exchange(stream_job())
        told = chunks(play(made, *events))[-1]["usage"]
    else:
        made = exchange(job({}))
        told = _plain(made, events)
    assert made.usage == classes
    assert charge(made.usage, SONNET, Decimal("0.60")) == nano
    assert told["prompt_tokens"] == classes.prompt
    assert told["prompt_tokens"] + told["completion_tokens"] == told["total_tokens"]


def _plain(made, events):
    return json.loads(made.answer(json.dumps(whole(events)).encode()))["usage"]


def test_cost_for_who_asks():
    """`cost` stands beside usage for callers who asked for it, and is the bill in USD, an exact number, once that is known."""
    made = exchange(
        job({"stream": True}, include_usage=True, include_cost=True, price=SONNET, rate=Decimal("0.60"))
    )
    out = play(made, opening(input_tokens=10), *texts("Hi"), *ending(output_tokens=5))
    billed = charge(made.usage, SONNET, Decimal("0.60"))
    told = chunks(filled(out, billed))[-1]["usage"]
    assert told["cost"] == 0.000063  # 10 x 3.00 + 5 x 15.00, a million, x 0.60
    assert b'"cost":0.000063}' in filled(out, billed)


def test_uplifts_name_tier_region_and_speed():
    """What served is named, for prices that depend on it; the usual is not."""
    made = exchange(stream_job())
    play(made, opening(service_tier="priority", inference_geo="us", speed="fast"), *texts("a"), *ending())
    assert made.uplifts == ("priority", "us", "fast")
    made = exchange(stream_job())
    play(made, opening(service_tier="standard", inference_geo="not_available"), *texts("a"), *ending())
    assert made.uplifts == ()


@pytest.mark.parametrize("bad", [-1, 1 << 60])
def test_impossible_figures_count_as_none(bad):
    """A figure that cannot be is left out of the bill."""
    made = exchange(stream_job())
    play(made, opening(cache_read_input_tokens=bad), *texts("a"), *ending())
    assert made.usage == TokenUsage(input=3, output=2)
