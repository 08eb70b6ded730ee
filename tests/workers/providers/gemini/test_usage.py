"""Gemini's usage in OpenAI's terms: every class of token once, and bills computed by hand to the nano-dollar."""

import json
from decimal import Decimal

import pytest

from schemas.money.pricing import Price, PriceTier, TokenUsage, charge
from tests.workers.providers.gemini.cases import chunks, exchange, job, play, stream_job, wire

# USD per million tokens; a prompt above 1,000 tokens costs twice as much. The rate is 0.60.
PRICE = Price(
    id="test",
    tiers=(
        PriceTier(
            input=Decimal("1.25"),
            output=Decimal("10.00"),
            cached=Decimal("0.3125"),
            input_audio=Decimal("3.00"),
            output_audio=Decimal("20.00"),
        ),
        PriceTier(
            input=Decimal("2.50"),
            output=Decimal("20.00"),
            above=1_000,
            cached=Decimal("0.625"),
            input_audio=Decimal("6.00"),
            output_audio=Decimal("40.00"),
        ),
    ),
)
RATE = Decimal("0.60")


def audio(count):
    """A breakdown with text and audio."""
    return [{"modality": "TEXT", "tokenCount": 1}, {"modality": "AUDIO", "tokenCount": count}]


# name, usageMetadata, tokens by class, the bill in nano-dollars:
# 0.60 x 1000 nano x (input x 1.25 + cached x 0.3125 + audio x 3 + (output + reasoning) x 10 + audio out x 20)
ROWS = [
    (
        "plain",
        {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120},
        TokenUsage(input=100, output=20),
        195_000,  # 600 x (125 + 200)
    ),
    (
        "cached",
        {
            "promptTokenCount": 107,
            "cachedContentTokenCount": 64,
            "candidatesTokenCount": 31,
            "thoughtsTokenCount": 148,
            "totalTokenCount": 286,
        },
        TokenUsage(input=43, cached=64, output=31, reasoning=148),
        1_118_250,  # 600 x (53.75 + 20 + 1790)
    ),
    (
        "tool use is input",
        {
            "promptTokenCount": 100,
            "toolUsePromptTokenCount": 40,
            "candidatesTokenCount": 10,
            "totalTokenCount": 150,
        },
        TokenUsage(input=140, output=10),
        165_000,  # 600 x (175 + 100)
    ),
    (
        "candidates that include their thoughts",
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 50,
            "thoughtsTokenCount": 30,
            "totalTokenCount": 150,
        },
        TokenUsage(input=100, output=20, reasoning=30),
        375_000,  # 600 x (125 + 500)
    ),
    (
        "audio in and out",
        {
            "promptTokenCount": 300,
            "promptTokensDetails": audio(200),
            "candidatesTokenCount": 90,
            "candidatesTokensDetails": audio(80),
            "totalTokenCount": 390,
        },
        TokenUsage(input=100, input_audio=200, output=10, output_audio=80),
        1_455_000,  # 600 x (125 + 600 + 100 + 1600)
    ),
    (
        "cached audio is cached, not audio, and costs what is cached unless it has a price",
        {
            "promptTokenCount": 300,
            "promptTokensDetails": audio(200),
            "cachedContentTokenCount": 150,
            "cacheTokensDetails": audio(120),
            "candidatesTokenCount": 1,
            "totalTokenCount": 301,
        },
        TokenUsage(input=70, cached=30, cached_audio=120, input_audio=80, output=1),
        230_625,  # 600 x (87.5 + 46.875 + 240 + 10)
    ),
    (
        "the dearer tier, for the whole call",
        {
            "promptTokenCount": 1_001,
            "cachedContentTokenCount": 1,
            "candidatesTokenCount": 3,
            "totalTokenCount": 1_004,
        },
        TokenUsage(input=1_000, cached=1, output=3),
        1_536_375,  # 600 x (2500 + 0.625 + 60)
    ),
    (
        "a zero is a figure",
        {"promptTokenCount": 19, "candidatesTokenCount": 0, "totalTokenCount": 19},
        TokenUsage(input=19),
        14_250,  # 600 x 23.75
    ),
    (
        "nonsense stays within bounds",
        {
            "promptTokenCount": 5,
            "cachedContentTokenCount": 9,
            "promptTokensDetails": audio(50),
            "candidatesTokenCount": 2,
            "candidatesTokensDetails": audio(50),
        },
        TokenUsage(cached=5, output_audio=2),
        24_938,  # 600 x (1.5625 + 40) = 24,937.5, half to even
    ),
]


@pytest.mark.parametrize(("name", "told", "usage", "bill_nano"), ROWS, ids=[row[0] for row in ROWS])
@pytest.mark.parametrize("stream", [False, True])
def test_usage_and_bill(name, told, usage, bill_nano, stream):
    """Every class of token is counted once and billed as computed by hand; prompt + completion = total."""
    answer = {
        "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}],
        "usageMetadata": told,
    }
    if stream:
        made = exchange(stream_job())
        body = chunks(play(made, wire([answer])))[-1]
    else:
        made = exchange(job({}))
        body = json.loads(made.answer(json.dumps(answer).encode()))
    assert made.usage == usage
    assert charge(made.usage, PRICE, RATE, made.uplifts) == bill_nano
    shown = body["usage"]
    assert shown["prompt_tokens"] + shown["completion_tokens"] == shown["total_tokens"]
    details = shown.get("prompt_tokens_details", {}), shown.get("completion_tokens_details", {})
    assert details[0].get("cached_tokens", 0) == usage.cached + usage.cached_audio
    assert details[0].get("audio_tokens", 0) == usage.input_audio
    assert details[1].get("reasoning_tokens", 0) == usage.reasoning
    assert details[1].get("audio_tokens", 0) == usage.output_audio


def test_c08_thoughts_are_part_of_completion():
    """Thoughts are billed and counted: completion = candidates + thoughts."""
    usage = _usage(
        {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 7, "totalTokenCount": 22}
    )
    assert (usage.completion, usage.reasoning) == (12, 7)


def test_c09_tool_use_prompt_is_input():
    """Tokens of tool results inside a request are prompt tokens."""
    usage = _usage({"promptTokenCount": 10, "toolUsePromptTokenCount": 4, "candidatesTokenCount": 5})
    assert (usage.prompt, usage.completion) == (14, 5)


def test_c10_total_is_recomputed():
    """A provider's total that is not prompt + completion is not repeated."""
    made = exchange(stream_job())
    answer = {
        "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 99},
    }
    assert chunks(play(made, wire([answer])))[-1]["usage"]["total_tokens"] == 15


def test_c03_running_totals_are_never_added():
    """Each chunk's numbers replace the ones before; a chunk without numbers leaves them."""
    made = exchange(stream_job())
    for told in (
        {"promptTokenCount": 9},
        {"promptTokenCount": 9, "candidatesTokenCount": 3},
        None,
        {"candidatesTokenCount": 8},
    ):
        chunk = {"candidates": [{"content": {"parts": [{"text": "x"}]}}]}
        made.feed(wire([chunk | ({"usageMetadata": told} if told else {})]))
    assert made.usage == TokenUsage(input=9, output=8)


def test_c34_early_usage_is_there_before_the_end():
    """What the provider had said by the time of a hang-up is known: the prompt can be settled with what was seen."""
    made = exchange(stream_job())
    made.feed(
        wire(
            [
                {
                    "candidates": [{"content": {"parts": [{"text": "Hi"}]}}],
                    "usageMetadata": {"promptTokenCount": 9},
                }
            ]
        )
    )
    assert made.usage == TokenUsage(input=9)
    assert made.output_bytes == 2
    assert not made.finished


def test_c35_zero_and_nothing_are_different():
    """No usage at all is None; an explicit zero is a figure."""
    assert _usage(None) is None
    assert _usage({"promptTokenCount": 0, "candidatesTokenCount": 0}) == TokenUsage()


def _usage(told):
    made = exchange(stream_job())
    answer = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
    play(made, wire([answer | ({"usageMetadata": told} if told is not None else {})]))
    return made.usage
