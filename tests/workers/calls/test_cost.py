"""What a worker says a call costs: what the ledger will bill for its event, once that is durable, or nothing."""

import json
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from runtime.settings.settings import PoolSettings
from schemas.bus.frames import Data, End, Job
from schemas.bus.usage import Known, Outcome, UsageEvent
from schemas.money.pricing import NO_USAGE, Price, PriceTier, TokenUsage, bill, charge
from tests.fakes.openai import FakeOpenAI, Received, Reply, answer, plain, stream, usage
from tests.fakes.worker import PRICE, account, job, model, rig
from workers.calls.bill import billed_nano
from workers.calls.leases import Leases

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
USED = TokenUsage(input=7, output=4)
RATE = Decimal("0.60")
TIERED = Price(
    id="tiered",
    tiers=(PriceTier(input=Decimal(1), output=Decimal(2)),),
    services={"priority": (PriceTier(input=Decimal(3), output=Decimal(5)),)},
    request=Decimal("0.01"),
)


async def ended(of: Job, handler: Any = answer, **pool: Any) -> tuple[list[Data], End, UsageEvent]:
    """A call that goes well: its data frames, its end, its event."""
    async with FakeOpenAI(handler) as fake:
        settings = PoolSettings(
            name="openai", provider="openai", accounts=(account(f"http://127.0.0.1:{fake.port}/v1"),), **pool
        )
        async with rig((settings,), (model(),)) as made:
            answered = await made.edge.call(of)
            event = await made.ledger.event(of)
    assert isinstance(answered.last, End), answered.last
    return [frame for frame in answered.frames if isinstance(frame, Data)], answered.last, event


async def test_a_streams_usage_waits_for_its_bill() -> None:
    """With cost the usage chunk is the end frame's, and has the figure; the words before it have gone."""
    of = job(BODY | {"stream": True}, include_cost=True, include_usage=True)
    data, end, event = await ended(of)
    assert b'usage":{' not in b"".join(frame.data for frame in data)
    shown = json.loads(end.data.removeprefix(b"data: "), parse_float=Decimal)["usage"]
    assert event.usage == USED
    assert shown["cost"] * 10**9 == end.billed_nano == charge(USED, PRICE, RATE)


async def test_a_stream_without_cost_is_not_priced() -> None:
    """Its end frame has neither bytes nor a figure: nothing is worked out that nobody reads."""
    of = job(BODY | {"stream": True}, include_usage=True)
    _, end, _ = await ended(of)
    assert (end.data, end.billed_nano) == (b"", None)


async def test_a_plain_answer_is_always_priced() -> None:
    """For its header; its body has `cost` only where that is wanted."""
    _, end, _ = await ended(job(BODY))
    assert "cost" not in json.loads(end.data)["usage"]
    assert end.billed_nano == charge(USED, PRICE, RATE)


async def test_a_large_answer_keeps_its_usage_back() -> None:
    """Only what stands before the usage is sent ahead of the bill, wherever the provider wrote it."""
    text = "x" * 600_000

    def first(received: Received) -> Reply:
        del received
        body = json.loads(plain(text, None))
        return Reply(pieces=[json.dumps({"usage": usage(7, 4)} | body).encode()], length=True)

    of = job(BODY, include_cost=True)
    data, end, event = await ended(of, first)
    whole = json.loads(b"".join(frame.data for frame in data) + end.data, parse_float=Decimal)
    assert whole["choices"][0]["message"]["content"] == text
    assert whole["usage"]["cost"] * 10**9 == end.billed_nano == charge(event.usage, PRICE, RATE)
    assert len(data) == 2


async def test_a_lease_that_may_have_ended_leaves_the_figure_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bill may then be smaller than the charge: the place is null, and there is no header."""
    monkeypatch.setattr(Leases, "sure", lambda *_: False)
    _, end, _ = await ended(job(BODY, include_cost=True))
    assert json.loads(end.data)["usage"]["cost"] is None
    assert end.billed_nano is None


async def test_a_server_without_usage_is_shown_an_estimate() -> None:
    """Who asks for cost is shown usage though the server sent none: what the estimate bills."""
    for streamed in (True, False):
        pieces = stream(["a", "b"], None) if streamed else [plain("ab", None)]
        of = job(BODY | {"stream": streamed}, include_cost=True, include_usage=streamed)
        _, end, event = await ended(of, lambda _, pieces=pieces: Reply(pieces=pieces))
        shown = json.loads(end.data.removeprefix(b"data: "), parse_float=Decimal)["usage"]
        assert event.known is Known.ESTIMATED
        assert (shown["prompt_tokens"], shown["completion_tokens"]) == (
            event.usage.prompt,
            event.usage.completion,
        )
        assert shown["cost"] * 10**9 == end.billed_nano > 0


def event_of(**more: Any) -> UsageEvent:
    """An event that ended well."""
    known: dict[str, Any] = {"outcome": Outcome.OK, "known": Known.REPORTED, "usage": USED}
    return UsageEvent("r", 1, "w", "openai", "openai", **(known | more))


def test_a_bill_is_never_above_its_hold() -> None:
    """min(charge, hold), and nothing at all without usage, whatever a request costs by itself."""
    whole = charge(USED, TIERED, RATE)
    for hold, billed in ((whole + 1, whole), (whole, whole), (whole - 1, whole - 1), (0, 0)):
        of = job(BODY, price=TIERED, rate=RATE, hold_nano=hold)
        assert billed_nano(event_of(), of) == billed
        assert billed_nano(event_of(usage=NO_USAGE), of) == 0


def test_an_untold_tier_is_that_of_the_hold() -> None:
    """A provider that has not said what served is billed as the hold reckons; without the hold's word nothing is said."""
    of = job(BODY, price=TIERED, rate=RATE, uplifts=("priority",))
    untold = event_of(known=Known.ESTIMATED, tier_unsaid=True)
    assert billed_nano(untold, of) == bill(USED, TIERED, RATE, ("priority",), of.hold_nano or 0)
    assert billed_nano(event_of(), of) == charge(USED, TIERED, RATE)
    assert billed_nano(untold, structs.replace(of, uplifts=None)) is None


@pytest.mark.parametrize("lack", [{"hold_nano": None}, {"price": None}])
def test_a_job_that_says_too_little_has_no_figure(lack: dict[str, Any]) -> None:
    """An edge of the last version does not tell the hold: no figure is better than one that may be wrong."""
    assert billed_nano(event_of(), job(BODY, **lack)) is None


def test_nonsense_has_no_figure() -> None:
    """The books park an event whose counts cannot be, and bill nothing for it."""
    assert billed_nano(event_of(usage=TokenUsage(input=10**9 + 1)), job(BODY)) is None
