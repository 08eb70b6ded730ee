"""Which calls leave items, and what a call with references asks of its upstream: over a real worker and bus."""

import asyncio
import json
from typing import Any

import pytest

from ledger.stream.items import keep_bucket
from runtime.bus.bus import Bus
from runtime.metrics import REGISTRY
from runtime.settings.settings import PoolSettings
from schemas.bus import subjects
from schemas.bus.frames import End, Job
from schemas.bus.subjects import Role
from schemas.bus.usage import Outcome
from schemas.money.pricing import NO_USAGE
from schemas.responses.marks import Marks, is_marked
from schemas.responses.request import RESPONSES
from tests.fakes.openai import FakeOpenAI, Reply, error, stream, usage
from tests.fakes.worker import Rig, account, job, model, rig, until
from workers.calls import items

SCOPE = "scope-1"
USER = {"role": "user", "content": "hi"}
EVENTS = stream(["one ", "two "], usage(7, 5))


def call_of(*references: str, **more: Any) -> Job:
    """A call in the dialect of Responses, through chat."""
    body = {
        "model": "m",
        "stream": True,
        "input": [USER, *({"type": "item_reference", "id": one} for one in references), USER],
    }
    fields = {"dialect": RESPONSES, "scope": SCOPE, "references": references, "keeps": True}
    return job(body, **fields | more)


def item_of(answered: Any) -> dict[str, Any]:
    """The item of an answer's last event."""
    data = answered.data.decode().rpartition("data: ")[2]
    (item,) = json.loads(data)["response"]["output"]
    return dict(item)


async def kept(bus: Bus) -> int:
    """How many items are in the bucket."""
    answer = json.loads(await bus.request(f"$JS.API.STREAM.INFO.{subjects.ITEMS_STREAM}", b"", 5))
    return int(answer.get("state", {}).get("messages", -1))


async def becomes(bus: Bus, count: int) -> None:
    """Waits until so many items are kept."""
    for _ in range(2_000):
        if await kept(bus) == count:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{await kept(bus)} items are kept, not {count}")


async def _calls(made: Rig, fake: FakeOpenAI, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    edge, ledger = made.edge, made.ledger
    replies = [
        Reply(pieces=EVENTS[:2], cut=True),
        error(500, "broken"),
        Reply(pieces=[*EVENTS[:2], asyncio.Event()]),
    ]
    fake.handler = lambda _: replies.pop(0)
    for _ in range(2):  # one that was cut, and one that failed
        call = call_of()
        assert not isinstance((await edge.call(call)).last, End)
        assert (await ledger.event(call)).outcome is Outcome.FAILED
    left = edge.offer(call_of())
    await until(lambda: b"one" in left.data, "the first word")
    left.cancel()
    assert (await ledger.event(left.job)).outcome is Outcome.CANCELLED
    fake.handler = lambda _: Reply(pieces=EVENTS)
    unwanted = await edge.call(call_of(keeps=False))
    assert isinstance(unwanted.last, End)
    assert not is_marked(item_of(unwanted)["id"])
    # The items of one pool are written in turn: those of the calls above would be there before this one's.
    answered = await edge.call(call_of())
    item = item_of(answered)
    await becomes(bus, 1)

    asked = len(fake.received)
    known = await edge.call(call_of(item["id"]))
    assert isinstance(known.last, End)
    told = fake.received[-1].json["messages"]
    assert [(one["role"], one["content"]) for one in told] == [
        ("user", "hi"),
        ("assistant", "one two "),
        ("user", "hi"),
    ]
    await becomes(bus, 2)

    monkeypatch.setattr(items, "ON_THE_WAY_S", 0.0)
    lost = Marks(SCOPE, "req_0", 9).loose("msg_0_0")
    call = call_of(item["id"], lost, last=False)
    failed = (await edge.call(call)).failed
    assert (failed.error.status, failed.error.param, failed.gives_way) == (404, "input", False)
    assert f"'{lost}' not found" in failed.error.message
    event = await ledger.event(call)
    assert (event.outcome, event.usage, event.tries) == (Outcome.FAILED, NO_USAGE, ())
    assert len(fake.received) == asked + 1


async def test_items_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an answer that its caller saw the end of leaves any; a miss is the caller's 404, and nothing is sent or billed.

    One that was cut, failed, left, not to be kept, or answered without a bucket leaves none, and a reference reaches the upstream as its item.
    """
    async with FakeOpenAI() as fake:
        pool = PoolSettings(name="openai", provider="openai", accounts=(account(fake.base_url),))
        async with rig((pool,), (model(),)) as made:
            # While there is no bucket a call is served, and leaves nothing.
            assert isinstance((await made.edge.call(call_of())).last, End)
            shown = {"pool": "openai", "result": "dropped"}
            await until(lambda: REGISTRY.get_sample_value("tokn_worker_items_total", shown) == 1, "a count")
            settings = made.server.settings(Role.LEDGER)
            bus = await Bus.connect(settings, Role.LEDGER, name="test", on_closed=lambda: None)
            making = asyncio.create_task(keep_bucket(bus, 1))
            try:
                await becomes(bus, 0)
                await _calls(made, fake, bus, monkeypatch)
            finally:
                making.cancel()
                await asyncio.wait([making])
                await bus.close()
