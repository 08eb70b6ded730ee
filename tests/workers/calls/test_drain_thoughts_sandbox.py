"""Abandoned answers that are billed anyway, signatures between turns, and the sandbox."""

import asyncio
import json
import time
from typing import Any

import pytest
from nats.js.api import KeyValueConfig

from runtime.bus.bus import Bus
from runtime.settings.settings import AccountSettings, PoolSettings
from schemas.bus import subjects
from schemas.bus.frames import End, Failed
from schemas.bus.subjects import THOUGHTS_BUCKET, Role
from schemas.bus.usage import Known, Outcome
from schemas.catalogue.builtin import BUILTIN, SANDBOX_MODEL
from schemas.chat.request import CHAT, COMPLETIONS
from schemas.money.pricing import TokenUsage
from tests.fakes.nats import NatsServer
from tests.fakes.openai import FakeOpenAI, Reply, stream, usage
from tests.fakes.ticks import Ticks
from tests.fakes.worker import account, job, muting, rig, until
from workers.calls import thoughts
from workers.providers.openai.family import OpenAI
from workers.providers.sandbox.family import Sandbox
from workers.upstream.http import read_all

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
STREAM = BODY | {"stream": True}


async def test_abandoned_answers_are_drained_where_they_are_billed(monkeypatch: Any) -> None:
    """For a family that bills the whole answer, a hang-up reads on in silence and reports the provider's figures."""
    monkeypatch.setattr(OpenAI, "bills_abandoned", True)
    muted, gate = muting(monkeypatch), asyncio.Event()
    events = stream(["one ", "two ", "three "], usage(7, 5))
    async with FakeOpenAI(lambda _: Reply(pieces=[*events[:2], gate, *events[2:]])) as fake:
        pool = PoolSettings(name="openai", provider="openai", accounts=(account(fake.base_url),))
        async with rig((pool,)) as made:
            answered = made.edge.offer(call := job(STREAM))
            await until(lambda: b"one" in answered.data, "the first word")
            answered.cancel()
            await asyncio.wait_for(muted.wait(), 10)
            gate.set()
            bill = await made.ledger.event(call)
            assert (bill.outcome, bill.known) == (Outcome.CANCELLED, Known.REPORTED)
            assert bill.usage == TokenUsage(input=7, output=5)
            assert b"two" not in answered.data
            await until(lambda: isinstance(answered.last, Failed), "word that the call is recorded")


async def test_an_edge_that_was_away_is_not_told_that_its_caller_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An edge that comes back while an answer is drained without it may still have its caller: no frame ends that call.

    It asks the ledger for another attempt, hears that the call is billed, and has that taken back.
    """
    monkeypatch.setattr(OpenAI, "bills_abandoned", True)
    monkeypatch.setattr("workers.calls.frames.EDGE_GONE_S", 0.4)
    muted, gate = muting(monkeypatch), asyncio.Event()
    async with FakeOpenAI(lambda _: Reply(pieces=[gate, *stream(["one ", "two "], usage(7, 5))])) as fake:
        pool = PoolSettings(name="openai", provider="openai", accounts=(account(fake.base_url),))
        async with rig((pool,), signed=False) as made:
            edge = made.edge
            heard = await edge.bus.subscribe(subjects.frames_all("away"), edge._on_frame)
            call = job(STREAM)
            answered = edge.offer(call, reply=subjects.frames("away", call.request_id, 1))
            await until(lambda: fake.received, "the upstream call")
            await heard.unsubscribe()
            await asyncio.wait_for(muted.wait(), 10)
            await edge.bus.subscribe(subjects.frames_all("away"), edge._on_frame)
            edge.beats.clear()
            gate.set()
            assert (await made.ledger.event(call)).outcome is Outcome.CANCELLED
            await until(lambda: edge.beats and not edge.beats[-1].inflight, "the worker has done with it")
            await edge.bus.flush(2)
            assert not any(isinstance(frame, Failed) for frame in answered.frames)


async def test_thoughts_are_kept_between_workers() -> None:
    """What one worker stores by tool-call id, another finds; ids of any kind are safe, unknown ones cost nothing."""
    with NatsServer() as server:
        admin, _ = await server.client("admin")
        await admin.jetstream().create_key_value(KeyValueConfig(bucket=THOUGHTS_BUCKET, direct=True))
        first, second = [
            await Bus.connect(server.settings(Role.WORKER), Role.WORKER, name="w", on_closed=lambda: None)
            for _ in range(2)
        ]
        kept = {"call_1": "c2ln", "odd id.*>\r\n\u65e5": "x" * 1_000}
        thoughts.store(first, kept)
        await first.flush(2)
        found: dict[str, str] = {}
        for _ in range(200):
            found = await thoughts.fetch(second, [*kept, "unknown"])
            if found == kept:
                break
        assert found == kept
        assert first.denied == second.denied == 0
        await admin.close()
        server.kill()
        waited = Ticks()
        await until(lambda: not second.connected, "the loss")
        assert await thoughts.fetch(second, ["call_1"]) == {}
        thoughts.store(second, kept)
        assert waited.s < 5
        await first.close()
        await second.close()


async def sandbox(body: dict[str, Any], dialect: str = CHAT, words_per_s: float = 0) -> tuple[bytes, Any]:
    family = Sandbox()
    row = next(item for item in BUILTIN if item.id == SANDBOX_MODEL)
    [exchange] = family.open(job(body, dialect=dialect, model=row.id, upstream=row.id), row, {})
    answer = await family.upstream(words_per_s).open(exchange.request(AccountSettings(id="s")))
    data = await read_all(answer, 1_000_000)
    if answer.status != 200:
        return data, None
    if body.get("stream"):
        return exchange.feed(data) + exchange.close(), exchange
    return exchange.answer(data), exchange


@pytest.mark.parametrize("dialect", [CHAT, COMPLETIONS])
async def test_sandbox_honours_its_parameters(dialect: str) -> None:
    """Limit, stop, n and usage work on both routes, streamed or not; a word is a token; two answers are alike."""
    start = {"model": "x", "messages": []} if dialect == CHAT else {"model": "x", "prompt": "hi"}
    data, exchange = await sandbox(start | {"max_tokens": 5, "n": 2}, dialect)
    body = json.loads(data)
    assert exchange.usage.output == 10
    assert [choice["finish_reason"] for choice in body["choices"]] == ["length", "length"]
    streamed, exchange = await sandbox(start | {"max_tokens": 5, "n": 2, "stream": True}, dialect)
    assert exchange.finished
    assert exchange.usage.output == 10
    events = [json.loads(item[6:]) for item in streamed.decode().split("\n\n") if item]
    for index in range(2):
        choices = [item["choices"][0] for item in events if item["choices"][0]["index"] == index]
        text = "".join(
            choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices
        )
        whole = body["choices"][index]
        assert text == (whole.get("text") or whole["message"]["content"])
    stopped = json.loads((await sandbox(start | {"stop": ["sandbox"], "max_tokens": 50}, dialect))[0])
    assert stopped["choices"][0]["finish_reason"] == "stop"


async def test_sandbox_keeps_its_pace() -> None:
    """Words come at the pace that was set."""
    began, waited = time.monotonic(), Ticks()
    await sandbox(STREAM | {"max_tokens": 10}, words_per_s=50)
    assert time.monotonic() - began > 0.15
    assert waited.s < 1.0


async def test_sandbox_refuses_what_is_no_request() -> None:
    """Ill-typed parameters are a 400, as anywhere."""
    data, _ = await sandbox(BODY | {"n": "many"})
    assert b"error" in data


async def test_completions_over_chat() -> None:
    """A legacy completion on an upstream that has only chat: one call a prompt, one answer, one bill."""
    async with FakeOpenAI() as fake:
        pool = PoolSettings(name="openai", provider="openai", accounts=(account(fake.base_url),))
        async with rig((pool,)) as made:
            call = job({"model": "m", "prompt": ["a", "b"]}, dialect=COMPLETIONS, limit=16, choices=2)
            answered = await made.edge.call(call)
            assert isinstance(answered.last, End)
            body = json.loads(answered.data)
            assert [choice["index"] for choice in body["choices"]] == [0, 1]
            assert body["usage"]["total_tokens"] == 22
            assert (await made.ledger.event(call)).usage == TokenUsage(input=14, output=8)
            assert [item.path for item in fake.received] == ["/v1/chat/completions"] * 2
