"""Calls through a real worker: the bus, the upstream, the bill and the frames."""

import json
from typing import Any

import pytest

from runtime.settings.settings import PoolSettings
from schemas.bus.frames import Accept, End
from schemas.bus.usage import Known, Outcome
from schemas.catalogue.builtin import BUILTIN
from schemas.money.pricing import TokenUsage
from tests.fakes.openai import WORDS, FakeOpenAI
from tests.fakes.worker import account, job, rig

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def pool(fake: FakeOpenAI, **more: Any) -> PoolSettings:
    return PoolSettings(name="openai", provider="openai", accounts=(account(fake.base_url, **more),))


async def test_plain_call() -> None:
    """A plain answer comes in the end frame, after its bill, with the caller's model id."""
    async with FakeOpenAI() as fake, rig((pool(fake),)) as made:
        call = job(BODY)
        answered = await made.edge.call(call)
        assert [type(frame) for frame in answered.frames] == [Accept, End]
        body = json.loads(answered.data)
        assert body["model"] == "m"
        assert body["choices"][0]["message"]["content"] == "".join(WORDS)
        assert body["usage"]["total_tokens"] == 11
        event = await made.ledger.event(call)
        assert (event.outcome, event.known) == (Outcome.OK, Known.REPORTED)
        assert event.usage == TokenUsage(input=7, output=4)
        assert fake.received[0].json["model"] == "up-m"


@pytest.mark.parametrize("asked", [False, True])
async def test_stream(asked: bool) -> None:
    """A stream's usage is always asked for upstream, and reaches only callers who asked."""
    body = BODY | {"stream": True} | ({"stream_options": {"include_usage": True}} if asked else {})
    async with FakeOpenAI() as fake, rig((pool(fake),)) as made:
        call = job(body)
        answered = await made.edge.call(call)
        assert isinstance(answered.last, End)
        events = [json.loads(event[6:]) for event in answered.data.decode().split("\n\n") if event]
        assert fake.received[0].json["stream_options"] == {"include_usage": True}
        assert {event["model"] for event in events} == {"m"}
        assert [event["choices"][0]["delta"].get("content") for event in events if event["choices"]] == [
            "",
            *WORDS,
            None,
        ]
        assert ("usage" in events[0]) == asked
        assert (events[-1]["choices"] == []) == asked
        assert (await made.ledger.event(call)).usage == TokenUsage(input=7, output=4)
        assert not answered.gap


async def test_sandbox() -> None:
    """The sandbox answers without an upstream, says what it is, and is billed a token a word."""
    sandbox = PoolSettings(name="sandbox", provider="sandbox", words_per_s=0)
    async with rig((sandbox,), BUILTIN) as made:
        call = job(BODY | {"model": "tokn-sandbox"}, model="tokn-sandbox", upstream="tokn-sandbox")
        answered = await made.edge.call(call, "sandbox")
        body = json.loads(answered.data)
        assert "sandbox" in body["choices"][0]["message"]["content"]
        event = await made.ledger.event(call)
        assert event.usage.output == len(body["choices"][0]["message"]["content"].split())
