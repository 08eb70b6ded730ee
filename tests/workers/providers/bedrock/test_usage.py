import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bus.usage import estimate, estimate_tokens
from schemas.money.pricing import PriceTier, TokenUsage, charge
from tests.fakes import bedrock as fake
from tests.fakes import bedrock_frames as frames
from tests.workers.providers.bedrock.cases import (
    CLAUDE,
    CLAUDE_3,
    CLAUDE_EFFORT,
    TITAN,
    chunks,
    exchange,
    feed,
    model,
)
from workers.providers.bedrock.converse import CacheDetail, Usage, token_usage

RATE = Decimal("0.60")
# Claude Sonnet 4.5 at list: 3.00 in, 0.30 read, 3.75 and 6.00 written, 15.00 out.
TIER = PriceTier(
    input=Decimal("3.00"),
    output=Decimal("15.00"),
    cached=Decimal("0.30"),
    cache_write=Decimal("3.75"),
    cache_write_long=Decimal("6.00"),
)

# What Bedrock counted · classes · prompt, completion · bill at 0.60 in nano-dollars, computed by hand.
TABLE = [
    # 10 x 3000 + 2 x 15000 = 60,000 x 0.6
    (fake.usage(10, 2), TokenUsage(input=10, output=2), (10, 2), 36_000),
    # 10 x 3000 + 100 x 300 + 5 x 3750 + 42 x 15000 = 30000 + 30000 + 18750 + 630000 = 708,750 x 0.6
    (
        fake.usage(10, 42, cacheReadInputTokens=100, cacheWriteInputTokens=5),
        TokenUsage(input=10, cached=100, cache_write=5, output=42),
        (115, 42),
        425_250,
    ),
    # 7 x 3000 + 3 x 3750 + 4 x 6000 + 1 x 15000 = 21000 + 11250 + 24000 + 15000 = 71,250 x 0.6
    (
        fake.usage(
            7,
            1,
            cacheReadInputTokens=0,
            cacheWriteInputTokens=7,
            cacheDetails=[{"ttl": "5m", "inputTokens": 3}, {"ttl": "1h", "inputTokens": 4}],
        ),
        TokenUsage(input=7, cache_write=3, cache_write_long=4, output=1),
        (14, 1),
        42_750,
    ),
    # The total shows that 107 includes the 100 that were read: 7 x 3000 + 100 x 300 + 3 x 15000 = 96,000 x 0.6
    (
        {"inputTokens": 107, "outputTokens": 3, "totalTokens": 110, "cacheReadInputTokens": 100},
        TokenUsage(input=7, cached=100, output=3),
        (107, 3),
        57_600,
    ),
    # A filtered answer: 19 x 3000 = 57,000 x 0.6; zero is a figure, not a gap
    (fake.usage(19, 0), TokenUsage(input=19), (19, 0), 34_200),
    (fake.usage(0, 0), TokenUsage(), (0, 0), 0),
    # 1 x 300 x 0.6 = 180, and 333,333,333 x 15000 + 1 x 3000 = 4,999,999,998,000 x 0.6
    (fake.usage(0, 0, cacheReadInputTokens=1), TokenUsage(cached=1), (1, 0), 180),
    (
        fake.usage(1, 333_333_333),
        TokenUsage(input=1, output=333_333_333),
        (1, 333_333_333),
        2_999_999_998_800,
    ),
]


@pytest.mark.parametrize(("counted", "usage", "told", "bill_nano"), TABLE)
@pytest.mark.parametrize("stream", [True, False])
def test_c01_c30_c31_usage_and_bills_to_the_nano_dollar(counted, usage, told, bill_nano, stream):
    """Cached tokens are beside the input, never in it; each token is priced once, in one class."""
    made = exchange(CLAUDE, stream=stream, limit=10**9)
    body = fake.answer(counted=counted)
    if stream:
        shown = chunks(feed(made, b"".join(fake.stream_of(body))))[-1]["usage"]
    else:
        shown = json.loads(made.answer(json.dumps(body).encode()))["usage"]
    assert made.usage == usage
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == told
    assert shown["total_tokens"] == sum(told)
    price = model(CLAUDE, TIER).prices[0]
    assert charge(usage, price, RATE, made.uplifts) == bill_nano


def test_c31_what_was_written_to_a_cache_is_input():
    """It stands among the prompt's details, with what was read."""
    made = exchange(CLAUDE, stream=False)
    shown = json.loads(made.answer(json.dumps(fake.answer(counted=TABLE[2][0])).encode()))["usage"]
    assert shown["prompt_tokens_details"] == {"cache_write_tokens": 7}
    assert "completion_tokens_details" not in shown


def test_titans_bill():
    """3 in and 2 out at 0.20 and 0.60: 3 x 200 + 2 x 600 = 1,800 x 0.6."""
    price = model(TITAN, PriceTier(input=Decimal("0.20"), output=Decimal("0.60"))).prices[0]
    for stream in (True, False):
        made = exchange(TITAN, stream=stream)
        if stream:
            feed(made, b"".join(fake.titan_stream()))
        else:
            made.answer(json.dumps(fake.titan_answer()).encode())
        assert made.usage is not None
        assert charge(made.usage, price, RATE) == 1_080


def test_the_tier_and_the_region_that_served_are_told():
    """A flex answer of a profile in the US: both factors apply, 60,000 x 1.1 x 0.5 x 0.6."""
    body = fake.answer(counted=fake.usage(10, 2)) | {"serviceTier": {"type": "flex"}}
    made = exchange(CLAUDE, stream=False)
    made.answer(json.dumps(body).encode())
    assert made.uplifts == ("us", "flex")
    streamed = exchange(CLAUDE)
    served = {"usage": fake.usage(10, 2), "metrics": {"latencyMs": 1}, "serviceTier": {"type": "flex"}}
    feed(streamed, b"".join([*fake.stream_of(fake.answer())[:-1], frames.event("metadata", served)]))
    assert streamed.uplifts == ("us", "flex")
    price = model(CLAUDE, TIER, us=Decimal("1.1"), flex=Decimal("0.5")).prices[0]
    assert streamed.usage is not None
    assert charge(streamed.usage, price, RATE, streamed.uplifts) == 19_800
    default = exchange(CLAUDE, stream=False)
    default.answer(json.dumps(body | {"serviceTier": {"type": "default"}}).encode())
    assert default.uplifts == ("us",)


def test_only_profiles_of_one_part_of_the_world_are_uplifted():
    """Its name is in the profile's id; global profiles and base ids have none."""
    found = [exchange(name).uplifts for name in (CLAUDE, CLAUDE_EFFORT, CLAUDE_3)]
    assert found == [("us",), (), ()]


@pytest.mark.parametrize("after", range(6))
def test_c34_c35_a_cut_is_billed_by_what_came(after):
    """No usage comes before the end: prompt and output are estimated from bytes, and at least one token of each."""
    parts = fake.stream_of(fake.answer("x" * 30), pieces=3)
    made = exchange(CLAUDE)
    feed(made, b"".join(parts[:after]))
    assert made.usage is None
    assert made.output_bytes == 10 * min(max(after - 1, 0), 3)
    usage = estimate(
        made.usage,
        prompt_max=100,
        text_bytes=41,
        output_max=100,
        output_tokens=estimate_tokens(made.output_bytes),
        answered=True,
    )
    assert usage == TokenUsage(input=11, output=max(1, -(-made.output_bytes // 4)))


COUNTS = st.integers(0, 10**9)


@given(counts=st.tuples(*[COUNTS] * 5), inclusive=st.booleans())
def test_c10_prompt_and_completion_are_always_the_total(counts, inclusive):
    """However a family counts its cache, every token is in one class, and they add up to the provider's total."""
    fresh, read, short, long, output = counts
    total = fresh + read + short + long + output
    counted = Usage(
        inputTokens=fresh + (read + short + long if inclusive else 0),
        outputTokens=output,
        totalTokens=total,
        cacheReadInputTokens=read,
        cacheWriteInputTokens=short + long,
        cacheDetails=[CacheDetail("5m", short), CacheDetail("1h", long)],
    )
    usage = token_usage(counted)
    assert usage == TokenUsage(
        input=fresh, cached=read, cache_write=short, cache_write_long=long, output=output
    )
    assert usage.prompt + usage.completion == total
