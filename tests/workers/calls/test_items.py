"""Items between turns: what answers leave in the bucket, whose they are, how many, and what a reference stands for."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ledger.stream import items as bucket
from ledger.stream.items import keep_bucket
from runtime.bus.bus import Bus
from schemas.bus import subjects
from schemas.bus.frames import Job
from schemas.bus.subjects import Role
from schemas.responses.marks import ITEM_BYTES_MAX, Marks
from schemas.responses.request import RESPONSES
from tests.fakes.nats import NatsServer
from tests.fakes.worker import job, until
from workers.calls import items
from workers.calls.items import Keeper, finished, resolve
from workers.calls.sealed import RINGS, Seal
from workers.providers.base import RefusedError

MINE, THEIRS = "scope-mine", "scope-theirs"
USER = {"role": "user", "content": "hi"}
SMALL = RINGS[0]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there is not waited for."""
    monkeypatch.setattr(items, "ON_THE_WAY_S", 0.0)


def message(item_id: str, text: str = "Hello") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"id": item_id, "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def named(number: int, scope: str = MINE, prefix: str = "msg") -> str:
    return Marks(scope, f"req_{number}", 10_000).loose(f"{prefix}_{number}_0")


def call_of(*references: str, scope: str = MINE) -> Job:
    """A call whose edge has verified these references."""
    body = {"model": "m", "input": [USER, *({"type": "item_reference", "id": one} for one in references)]}
    return job(body, dialect=RESPONSES, scope=scope, references=references, keeps=True)


def ending(*output: dict[str, Any], stream: bool = False) -> bytes:
    response = {"output": list(output)}
    if not stream:
        return json.dumps(response).encode()
    data = json.dumps({"type": "response.completed", "response": response})
    return f"event: response.completed\ndata: {data}\n\n".encode()


class Bench:
    """A server with the bucket, as a ledger makes it, and a worker's connection."""

    def __init__(self, server: NatsServer, ledger: Bus, bus: Bus) -> None:
        self.server = server
        self.ledger = ledger
        self.bus = bus
        self.keeper = Keeper(bus)

    async def keep(self, *output: dict[str, Any], scope: str = MINE) -> None:
        """The items of one answer, written."""
        self.keeper.keep(call_of(scope=scope), ending(*output))
        await self.written()

    async def written(self) -> None:
        """Once nothing waits to be written."""
        assert self.keeper._task is not None
        await asyncio.wait_for(asyncio.shield(self.keeper._task), 20)

    async def found(self, *item_ids: str, scope: str = MINE) -> list[dict[str, Any]]:
        """What references stand for."""
        resolved = await resolve(self.bus, call_of(*item_ids, scope=scope))
        return list(json.loads(resolved.body)["input"][1:])

    async def misses(self, item_id: str, scope: str = MINE) -> bool:
        """Whether one is not found, and its caller is told so."""
        try:
            await self.found(item_id, scope=scope)
        except RefusedError as refused:
            error = refused.error
        else:
            return False
        assert (error.status, error.param) == (404, "input")
        assert f"'{item_id}' not found" in error.message
        return True

    async def made(self) -> None:
        """Once the bucket is there."""
        for _ in range(400):
            answer = await self.ledger.request(f"$JS.API.STREAM.INFO.{subjects.ITEMS_STREAM}", b"", 5)
            if "error" not in json.loads(answer):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("no bucket")


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    with NatsServer() as server:
        buses = [
            await Bus.connect(server.settings(role), role, name="test", on_closed=lambda: None)
            for role in (Role.LEDGER, Role.WORKER)
        ]
        making = asyncio.create_task(keep_bucket(buses[0], 1))
        one = Bench(server, *buses)
        try:
            await one.made()
            yield one
            assert buses[1].denied == 0
        finally:
            await one.keeper.drain()
            making.cancel()
            await asyncio.wait([making])
            for bus in buses:
                await bus.close()


async def test_an_item_comes_back_to_its_key_alone() -> None:
    """Whole, at its place, from another worker too; to another key it is not there, and sealed on the bus."""
    item = message(named(1), "a secret")
    async with bench() as made:
        await made.keep(item, scope=MINE)
        other = await Bus.connect(
            made.server.settings(Role.WORKER), Role.WORKER, name="w", on_closed=lambda: None
        )
        given = call_of(item["id"])
        resolved = await resolve(other, given)
        assert json.loads(resolved.body)["input"] == [USER, item]
        assert resolved.text_bytes - given.text_bytes == len(json.dumps(item))
        await other.close()
        assert await made.misses(item["id"], scope=THEIRS)
        newest = json.dumps({"last_by_subj": subjects.item(">")}).encode()
        kept = await made.bus.request(subjects.ITEM_READ, newest, 5)
        assert kept
        assert b"secret" not in kept
        assert Seal(THEIRS).open(item["id"], kept) is None
        assert Seal(MINE).open(named(2), kept) is None


async def test_a_key_pushes_out_its_own_oldest_alone() -> None:
    """Each ring of a scope has the newest of its items, however many come, and another scope's are untouched."""
    ring = RINGS[-1]
    long = "x" * (ring.item_bytes_max - 2_000)
    theirs = message(named(0, THEIRS), long)
    async with bench() as made:
        await made.keep(theirs, scope=THEIRS)
        short = message(named(0), "short")
        await made.keep(short)
        count = ring.items_max + 3
        for number in range(1, count + 1):
            await made.keep(message(named(number), long))
        assert made.keeper.dropped == 0
        for number in range(1, count + 1):
            assert await made.misses(named(number)) is (number <= 3), number
        assert await made.found(short["id"]) == [short]
        assert await made.found(theirs["id"], scope=THEIRS) == [theirs]
        assert sum(one.items_max * one.item_bytes_max for one in RINGS) == 6 * 1024 * 1024


async def test_items_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour, here a second, an item is not found; reasoning is then no more than lost."""
    monkeypatch.setattr(bucket, "AGE_S", 1)
    thought = {"id": named(2, prefix="rs"), "type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}
    async with bench() as made:
        await made.keep(message(named(1)), thought)
        for _ in range(1_000):
            if await made.misses(named(1)):
                break
            await asyncio.sleep(0.02)
        assert await made.misses(named(1))
        assert await made.found(thought["id"]) == []


async def test_the_bucket_is_made_again() -> None:
    """A server that lost its memory has a bucket again, without a ledger's restart; until then there is nothing."""
    async with bench() as made:
        await made.keep(message(named(1)))
        made.server.kill()
        await until(lambda: not (made.bus.connected or made.ledger.connected), "the loss")
        with pytest.raises(RefusedError) as refused:
            await made.found(named(1))
        assert refused.value.error.status == 503
        await made.keep(message(named(2)))
        assert (made.keeper.kept, made.keeper.dropped) == (1, 1)
        made.server.start()
        await until(lambda: made.bus.connected and made.ledger.connected, "the reconnection")
        await made.made()
        assert await made.misses(named(1))
        await made.keep(message(named(3)))
        assert await made.found(named(3)) == [message(named(3))]


async def test_an_item_on_its_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller may be faster than what was written for it; reasoning that is not there keeps nobody."""
    async with bench() as made:
        monkeypatch.setattr(items, "ON_THE_WAY_S", 20.0)
        finding = asyncio.create_task(made.found(named(1)))
        assert await made.found(named(2, prefix="rs")) == []
        assert not finding.done()
        await made.keep(message(named(1)))
        assert await finding == [message(named(1))]


async def test_without_a_bucket_nothing_is_there() -> None:
    """A reference is a 404, and what is not kept is counted."""
    with NatsServer() as server:
        bus = await Bus.connect(server.settings(Role.WORKER), Role.WORKER, name="w", on_closed=lambda: None)
        made = Bench(server, bus, bus)
        assert await made.misses(named(1))
        await made.keep(message(named(1)))
        assert (made.keeper.kept, made.keeper.dropped) == (0, 1)
        await bus.close()


async def test_no_more_waits_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers beyond the queue's count or bytes are dropped and counted, and no call waits for any."""
    async with bench() as made:
        monkeypatch.setattr(items, "ANSWERS_WAITING_MAX", 2)
        for number in range(5):
            made.keeper.keep(call_of(), ending(message(named(number))))
        assert made.keeper.dropped == 3
        await made.written()
        assert made.keeper.kept == 2
        for limit in ("WAITING_BYTES_MAX", "ENDING_BYTES_MAX"):
            with monkeypatch.context() as patched:
                patched.setattr(items, limit, 100)
                made.keeper.keep(call_of(), ending(message(named(9))))
        assert made.keeper.dropped == 5


@pytest.mark.parametrize("stream", [True, False])
def test_what_is_kept_of_an_answer(stream: bool) -> None:
    """Items of known types with true marks, no longer than these say; reasoning only with what proves it."""
    good = message(named(1))
    marks = Marks(MINE, "req_1", 10_000)
    proved = {"id": named(2, prefix="rs"), "type": "reasoning", "encrypted_content": "b"}
    bad = [
        message(named(3, THEIRS)),
        message("msg_4_0"),
        message(marks.exact("msg_5_0", 20)),
        message(named(6), "x" * ITEM_BYTES_MAX),
        {"id": named(7, prefix="rs"), "type": "reasoning", "summary": []},
        {"id": named(8, prefix="ws"), "type": "web_search_call"},
        {"type": "message"},
    ]
    kept = finished(MINE, ending(*bad[:3], good, *bad[3:], proved, stream=stream), stream=stream)
    assert [item_id for item_id, _ in kept] == [good["id"], proved["id"]]
    assert json.loads(kept[0][1]) == good
    many = [message(named(number)) for number in range(items.ITEMS_MAX + 5)]
    last = finished(MINE, ending(*many, stream=stream), stream=stream)
    assert [item_id for item_id, _ in last] == [one["id"] for one in many[-items.ITEMS_MAX :]]


@pytest.mark.parametrize(
    "nonsense", [b"", b"{", b'{"output":5}', b'{"output":[5]}', b"event: x\ndata: {\n\n", b"\xff"]
)
def test_an_answer_that_cannot_be_read_leaves_nothing(nonsense: bytes) -> None:
    """Whatever it is."""
    assert finished(MINE, nonsense, stream=False) == finished(MINE, nonsense, stream=True) == []
