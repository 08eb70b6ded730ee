import asyncio
import json
import threading
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from runtime.settings.settings import AccountSettings, PoolSettings
from schemas.bus.frames import End, Failed
from schemas.bus.usage import Known, Outcome
from schemas.catalogue.bedrock import bedrock_capabilities
from schemas.money.pricing import NO_USAGE, TokenUsage
from tests.fakes import bedrock as fake
from tests.fakes import bedrock_frames as frames
from tests.fakes.estimated import output_tokens, prompt_tokens
from tests.fakes.worker import PRICE, job, model, muting, rig, until
from tests.workers.providers.bedrock.cases import CLAUDE

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
STREAM = BODY | {"stream": True}
ROW = model(
    pool="bedrock",
    provider="bedrock",
    upstream=CLAUDE,
    capabilities=bedrock_capabilities(CLAUDE),
    rate=Decimal(1),
)
EVENTS = fake.stream_of(fake.answer("one two three "), pieces=3)


@pytest.fixture
def server():
    with fake.Bedrock() as made:
        yield made


def pool(server, *names: str) -> tuple[PoolSettings, ...]:
    accounts = tuple(
        AccountSettings(
            id=name,
            region=fake.REGION,
            base_url=server.base_url,
            access_key_id=fake.ACCESS_KEY,
            secret_access_key=fake.SECRET_KEY,
        )
        for name in names or ("a",)
    )
    return (PoolSettings(name="bedrock", provider="bedrock", accounts=accounts),)


def asked(body: dict[str, Any]):
    return job(
        body, upstream=CLAUDE, text_bytes=40, price=structs.replace(PRICE, uplifts={"us": Decimal("1.1")})
    )


async def test_calls_through_a_real_worker(server):
    """Plain and streamed, billed by what Bedrock reported."""
    async with rig(pool(server), (ROW,)) as made:
        for body in (BODY, STREAM):
            call = asked(body)
            answered = await made.edge.call(call, "bedrock")
            assert isinstance(answered.last, End), answered.last
            assert b'"H' in answered.data
            bill = await made.ledger.event(call)
            assert (bill.outcome, bill.known, bill.usage) == (
                Outcome.OK,
                Known.REPORTED,
                TokenUsage(input=10, output=2),
            )
            assert bill.uplifts == ("us",)
        # A row that has no factor for its own id's region has it in its prices.
        call = job(BODY, upstream=CLAUDE, text_bytes=40)
        await made.edge.call(call, "bedrock")
        assert (await made.ledger.event(call)).uplifts == ()


@pytest.mark.parametrize("after", [2, 4])
async def test_c36_a_caller_who_leaves_pays_for_the_answer_that_bedrock_bills(server, after, monkeypatch):
    """The stream is drained behind the caller's back, so that the bill is Bedrock's own figures."""
    muted, gate = muting(monkeypatch), threading.Event()
    server.replies = [fake.Reply(frames=EVENTS, held=after, gate=gate)]
    async with rig(pool(server), (ROW,)) as made:
        call = asked(STREAM)
        answered = made.edge.offer(call, "bedrock")
        await until(lambda: answered.data.count(b"\n\n") >= after, "the chunks")
        answered.cancel()
        await asyncio.wait_for(muted.wait(), 10)
        gate.set()
        bill = await made.ledger.event(call)
        assert (bill.outcome, bill.known) == (Outcome.CANCELLED, Known.REPORTED)
        assert bill.usage == TokenUsage(input=10, output=2)
        assert server.calls[0].sent == len(EVENTS)
        await until(lambda: isinstance(answered.last, Failed), "word that the call is recorded")


@pytest.mark.parametrize("after", range(len(EVENTS)))
@pytest.mark.parametrize("torn", [True, False])
async def test_c34_c38_a_cut_after_each_event_ends_in_an_error_and_an_estimate(server, after, torn):
    """Reset, or closed in order: never a clean end; billed by the rule for what was sent, nothing if nothing was."""
    server.replies = [fake.Reply(frames=EVENTS, cut=after if torn else None, end=None if torn else after)]
    async with rig(pool(server), (ROW,)) as made:
        call = asked(STREAM)
        answered = await made.edge.call(call, "bedrock")
        assert answered.failed.error.status in (502, 504)
        assert b'"finish_reason":"' not in answered.data
        bill = await made.ledger.event(call)
        assert (bill.outcome, bill.known) == (Outcome.FAILED, Known.ESTIMATED)
        said = "".join(
            json.loads(event[6:])["choices"][0]["delta"].get("content", "")
            for event in answered.data.split(b"\n\n")
            if event
        )
        if not said:  # an opening alone is worth nothing
            assert bill.usage == NO_USAGE
        else:
            assert bill.usage == TokenUsage(input=prompt_tokens(call), output=output_tokens(said, CLAUDE))
        assert len(server.calls) == 1


async def test_a_throttled_account_is_passed_over_before_and_inside_the_stream(server):
    """A 429, and a throttle as the first frame of a 200, both leave the call to the next account."""
    throttled = [
        fake.Reply(error="ThrottlingException", message="Too many requests"),
        fake.Reply(frames=[frames.exception("throttlingException", "Too many tokens")]),
    ]
    for first in throttled:
        server.replies = [first, fake.Reply(frames=EVENTS)]
        async with rig(pool(server, "a", "b"), (ROW,)) as made:
            call = asked(STREAM)
            answered = await made.edge.call(call, "bedrock")
            assert isinstance(answered.last, End)
            bill = await made.ledger.event(call)
            assert [attempt.outcome for attempt in bill.tries] == [Outcome.FAILED, Outcome.OK]
            assert bill.tries[0].usage == NO_USAGE


async def test_a_model_that_bedrock_no_longer_knows_is_a_404(server):
    """Whatever words AWS has for it."""
    server.gone.add(CLAUDE)
    async with rig(pool(server), (ROW,)) as made:
        answered = await made.edge.call(asked(BODY), "bedrock")
        assert (answered.failed.error.status, answered.failed.error.code) == (404, "model_not_found")
