from decimal import Decimal

import msgspec
import pytest

from schemas.bus import frames, usage
from schemas.errors import WireError, upstream_failed
from schemas.money.pricing import Price, PriceTier, TokenUsage
from schemas.verbs.base import encode
from schemas.verbs.calls import AuthoriseReply, Hold

PRICE = Price(id="row", tiers=(PriceTier(input=Decimal("2.5"), output=Decimal(10)),))

FRAMES = [
    frames.Accept(0, "w1"),
    frames.Bounce("w1", upstream_failed()),
    frames.Data(1, b"data: {}\n\n"),
    frames.Alive(4),
    frames.EarlyUsage(2, TokenUsage(input=3)),
    frames.End(5, b"", TokenUsage(input=3, output=4)),
    frames.Failed(6, WireError(502, "server_error", "no", retry_after_s=1.5)),
]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_every_frame_survives_the_wire(frame):
    """What a worker sends is what an edge reads, type and fields."""
    assert frames.decode_frame(frames.encode(frame)) == frame


def test_a_newer_neighbour_may_add_fields_at_the_end():
    """A reader ignores trailing fields it does not know, so that neighbouring versions run side by side."""
    newer = msgspec.msgpack.encode([*msgspec.msgpack.decode(frames.encode(frames.Data(1, b"x"))), "new"])
    assert frames.decode_frame(newer) == frames.Data(1, b"x")


def test_a_beat_of_an_older_neighbour_names_no_models_out_of_use():
    """An account that a worker of before tells of has nothing there, and one of now is read by it all the same."""
    model = frames.ModelBeat("up", frames.AccountState.GONE, 5.0, "gone")
    account = frames.AccountBeat("a", frames.AccountState.OK, 1, 4, models=(model,), models_out=1)
    beat = frames.Beat(1, "w", "p", "openai", 1, 4, True, (), (), (account,))
    assert frames.decode_beat(frames.encode(beat)) == beat
    raw = msgspec.msgpack.decode(frames.encode(beat))
    raw[9] = [raw[9][0][:6]]
    older = frames.decode_beat(msgspec.msgpack.encode(raw)).accounts[0]
    assert (older.id, older.models, older.models_out) == ("a", (), 0)


def test_a_hold_keeps_its_exact_prices():
    """Prices and rate travel as exact decimals, not as floats."""
    hold = Hold("r", "t", "k", 5, 9, 16, False, "openai", "openai", "up", PRICE, Decimal("0.60"))
    decoded = msgspec.msgpack.decode(encode(hold), type=AuthoriseReply)
    assert decoded == hold
    assert str(decoded.rate) == "0.60"


@pytest.mark.parametrize(
    ("last", "output_bytes", "answered", "expected"),
    [
        (None, 0, False, TokenUsage(input=3)),
        (None, 0, True, TokenUsage(input=3, output=1)),
        (None, 9, True, TokenUsage(input=3, output=3)),
        (TokenUsage(input=7, output=1), 40, True, TokenUsage(input=7, output=10)),
        (TokenUsage(input=7, output=20), 40, True, TokenUsage(input=7, output=20)),
        (TokenUsage(input=0, output=0), 0, False, TokenUsage()),
    ],
)
def test_the_estimation_rule(last, output_bytes, answered, expected):
    """The provider's last word counts, then what was estimated, at least one token once the upstream has answered."""
    got = usage.estimate(
        last,
        prompt_max=100,
        prompt_tokens=3,
        output_max=100,
        output_tokens=usage.estimate_tokens(output_bytes),
        answered=answered,
    )
    assert got == expected


@pytest.mark.parametrize("last", [None, TokenUsage(input=7, output=1)])
def test_an_estimate_is_at_most_what_was_granted(last):
    """Whatever a text is estimated at is never beyond the hold."""
    got = usage.estimate(
        last, prompt_max=7, prompt_tokens=225, output_max=2, output_tokens=225, answered=True
    )
    assert got == TokenUsage(input=7, output=2)


def test_a_report_counts_though_it_is_beyond_the_grant():
    """What the provider said itself is never lowered by an estimate."""
    last = TokenUsage(input=7, output=9)
    assert (
        usage.estimate(last, prompt_max=7, prompt_tokens=3, output_max=2, output_tokens=25, answered=True)
        == last
    )


def test_an_estimate_of_a_prompt_stays_within_the_grant():
    """Of a call that ended before any usage came, the prompt counts as estimated, at most what was granted."""
    for prompt_max, tokens in ((10_000, 10 + 765), (500, 500)):
        got = usage.estimate(
            None,
            prompt_max=prompt_max,
            prompt_tokens=10 + 765,
            output_max=9,
            output_tokens=3,
            answered=True,
        )
        assert got == TokenUsage(input=tokens, output=3)
