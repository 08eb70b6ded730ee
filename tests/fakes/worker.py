"""Owns a rig for tests of workers: a real bus, an edge and a ledger that follow a script, and the worker itself."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.js.api import StreamConfig

from runtime.bus.bus import Bus, Message
from runtime.reload import Live
from runtime.sealing import Writer
from runtime.settings.calls import IDLE_S
from runtime.settings.settings import AccountSettings, CallSettings, PoolSettings, Settings
from schemas.bus import subjects
from schemas.bus.frames import (
    Accept,
    Alive,
    Beat,
    Bounce,
    Cancel,
    Control,
    Credit,
    Data,
    End,
    Failed,
    Frame,
    Job,
    Part,
    decode_beat,
    decode_frame,
    encode,
)
from schemas.bus.subjects import Role
from schemas.bus.usage import UsageEvent, decode_batch
from schemas.catalogue.model import Capabilities, Model
from schemas.chat.request import CHAT
from schemas.money.pricing import Price, PriceTier
from schemas.verbs import base
from schemas.verbs.calls import RENEW, Renew
from schemas.verbs.pools import INVENTORY, InventoryReply
from tests.fakes.nats import NatsServer
from tests.fakes.openai import API_KEY
from workers import app
from workers.calls.frames import FrameWriter

DEADLINE_S = 60.0
PRICE = Price(id="test", tiers=(PriceTier(input=Decimal(1), output=Decimal(2)),))


def model(name: str = "m", pool: str = "openai", **more: Any) -> Model:
    """A model of the catalogue."""
    capabilities = more.pop("capabilities", Capabilities())
    return Model(
        id=name,
        pool=pool,
        provider=more.pop("provider", "openai"),
        upstream=more.pop("upstream", f"up-{name}"),
        context=128_000,
        max_output=4_096,
        prices=(PRICE,),
        capabilities=capabilities,
        **more,
    )


def account(base_url: str, name: str = "a", **more: Any) -> AccountSettings:
    """An account at a fake upstream."""
    return AccountSettings(id=name, base_url=base_url, api_key=API_KEY, **more)


def settings(
    server: NatsServer,
    pools: tuple[PoolSettings, ...],
    models: tuple[Model, ...],
    calls: CallSettings = CallSettings(),  # noqa: B008  frozen
) -> Settings:
    """The settings of a worker."""
    return Settings(
        calls=calls,
        nats=server.settings(),
        database_url="",
        pepper="",
        rate=Decimal("0.60"),
        pools=pools,
        models=models,
        host="127.0.0.1",
        port=0,
        public_url="",
        metrics_port=0,
        data=None,
        source="test",
    )


def job(content: dict[str, Any] | bytes, /, *, request_id: str = "", **more: Any) -> Job:
    """A job with plausible figures."""
    raw = content if isinstance(content, bytes) else msgspec.json.encode(content)
    decoded: dict[str, Any] = content if isinstance(content, dict) else {}
    stream = bool(decoded.get("stream"))
    fields: dict[str, Any] = {
        "v": 1,
        "request_id": request_id or subjects.new_id("r"),
        "attempt": 1,
        "dialect": CHAT,
        "model": "m",
        "upstream": "up-m",
        "stream": stream,
        "include_usage": bool((decoded.get("stream_options") or {}).get("include_usage")),
        "include_cost": False,
        "limit": 4_096,
        "write_limit": False,
        "prompt_max": 1_000_000,
        "text_bytes": 40,
        "choices": 1,
        "hold_list_nano": 1_000_000,
        "deadline_s": 30.0,
        "published_ms": int(time.time() * 1000),
        "body": raw,
        "body_bytes": len(raw),
        "price": PRICE,
        "rate": Decimal("0.60"),
        "hold_nano": 1_000_000_000,
        "uplifts": (),
    }
    return Job(**(fields | more))


async def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        await asyncio.sleep(0.005)


def muting(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event that is set once the worker has taken note that nobody reads an answer any more."""
    muted, real = asyncio.Event(), FrameWriter.mute

    def mute(frames: FrameWriter) -> None:
        real(frames)
        muted.set()

    monkeypatch.setattr(FrameWriter, "mute", mute)
    return muted


class Answered:
    """What an edge has heard of one attempt."""

    def __init__(self, edge: "Edge", call: Job) -> None:
        self.job = call
        self.frames: list[Frame] = []
        self.times: list[float] = []
        self.worker_id = ""
        self._untold: list[Control] = []  # for the worker, before it has accepted
        self.next_seq = 0
        self.gap = False
        self.credit = True
        self.ended = asyncio.Event()
        self._edge = edge

    @property
    def data(self) -> bytes:
        """The caller's bytes so far, the end frame's included."""
        return b"".join(frame.data for frame in self.frames if isinstance(frame, Data | End))

    @property
    def last(self) -> Frame:
        """The last frame."""
        return self.frames[-1]

    @property
    def failed(self) -> Failed:
        """The last frame, which must be a failure."""
        assert isinstance(self.last, Failed), self.last
        return self.last

    def hear(self, message: Message) -> None:
        """One frame: duplicates are dropped, a gap is noted, credit is given."""
        frame = decode_frame(message.data)
        if isinstance(frame, Bounce):
            self.frames.append(frame)
            self.ended.set()
            return
        if isinstance(frame, Alive):
            self.frames.append(frame)
            self.times.append(time.monotonic())
            return
        if frame.seq < self.next_seq:
            return
        self.gap = self.gap or frame.seq > self.next_seq
        self.next_seq = frame.seq + 1
        self.frames.append(frame)
        self.times.append(time.monotonic())
        if isinstance(frame, Accept):
            self.worker_id = frame.worker_id
            assert message.reply == subjects.control(frame.worker_id)
            self._tell()
            self._edge.send_parts(self, frame)
        if self.credit:
            self.give_credit()
        if isinstance(frame, End | Failed):
            self.ended.set()

    def give_credit(self) -> None:
        """Says that everything so far was consumed."""
        self.control(Credit(self.job.request_id, self.job.attempt, self.next_seq - 1))

    def cancel(self) -> None:
        """The caller has left."""
        self.control(Cancel(self.job.request_id, self.job.attempt))

    def control(self, message: Control) -> None:
        """Tells the worker something, once it is known who that is: a test may see the upstream's side of a call first."""
        self._untold.append(message)
        self._tell()

    def _tell(self) -> None:
        while self._untold and self.worker_id:
            self._edge.bus.publish(subjects.control(self.worker_id), encode(self._untold.pop(0)))

    async def end(self, deadline_s: float = DEADLINE_S) -> "Answered":
        """Waits for the last frame."""
        await asyncio.wait_for(self.ended.wait(), deadline_s)
        return self


class Edge:
    """The edge's half of the protocol, as a script."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.edge_id = bus.id
        self.calls: dict[tuple[str, int], Answered] = {}
        self.beats: list[Beat] = []
        self.bodies: dict[str, list[bytes]] = {}
        self.seals = True

    async def start(self) -> None:
        """Listens to frames and beats."""
        await self.bus.subscribe(subjects.frames_all(self.edge_id), self._on_frame)
        await self.bus.subscribe(subjects.BEATS, lambda message: self.beats.append(decode_beat(message.data)))

    def _on_frame(self, message: Message) -> None:
        name = subjects.parse_frames(message.subject)
        if name in self.calls:
            self.calls[name].hear(message)

    def offer(self, call: Job, pool: str = "openai", reply: str = "") -> Answered:
        """Publishes a job."""
        answered = Answered(self, call)
        self.calls[call.request_id, call.attempt] = answered
        inbox = reply or subjects.frames(self.edge_id, call.request_id, call.attempt)
        self.bus.publish(subjects.pool(pool), encode(call), inbox)
        return answered

    async def call(self, call: Job, pool: str = "openai") -> Answered:
        """Offers a job and waits for its last frame."""
        return await self.offer(call, pool).end()

    def send_parts(self, answered: Answered, accept: Accept) -> None:
        """The parts of a body that did not travel in its job: sealed as the accept asks, but by an edge of the last version."""
        job = answered.job
        pieces = self.bodies.get(job.request_id, [])
        seal = Writer(accept.seal) if pieces and self.seals else None
        for index, data in enumerate(pieces):
            part = Part(job.request_id, job.attempt, index, data)
            if seal is not None:
                sealed = seal.seal(f"{job.request_id}.{job.attempt}", index, data)
                part = msgspec.structs.replace(part, data=sealed, sealed_by=seal.public)
            answered.control(part)


class Ledger:
    """The ledger's half: it remembers events and renewals, and answers with the credit it was told."""

    def __init__(self) -> None:
        self.events: list[UsageEvent] = []
        self.batches: list[int] = []
        self.renewed: list[str] = []
        self.credit_nano: dict[str, int | None] = {}

    async def start(self, server: NatsServer, bus: Bus) -> Any:
        """Makes the streams as an administrator, answers verbs as a ledger. The client, to be closed."""
        client, _ = await server.client("admin")
        jetstream = client.jetstream()
        await jetstream.add_stream(StreamConfig(name=subjects.USAGE_STREAM, subjects=[subjects.USAGES]))
        await client.subscribe(subjects.USAGES, cb=self._on_usage)
        await bus.subscribe(RENEW.subject, self._on_renew(bus), queue=subjects.LEDGER_QUEUE)
        await bus.subscribe(INVENTORY.subject, self._on_inventory(bus), queue=subjects.LEDGER_QUEUE)
        return client

    async def _on_usage(self, message: Any) -> None:
        batch = decode_batch(message.data)
        self.batches.append(len(batch.events))
        self.events += batch.events

    def _on_renew(self, bus: Bus) -> Callable[[Message], None]:
        def hear(message: Message) -> None:
            self.renewed += msgspec.msgpack.decode(message.data, type=Renew).request_ids
            bus.publish(message.reply, base.encode(base.Done()))

        return hear

    def _on_inventory(self, bus: Bus) -> Callable[[Message], None]:
        def hear(message: Message) -> None:
            bus.publish(message.reply, base.encode(InventoryReply(self.credit_nano)))

        return hear

    def of(self, call: Job) -> list[UsageEvent]:
        """The events of one attempt."""
        return [
            event
            for event in self.events
            if event.request_id == call.request_id and event.attempt == call.attempt
        ]

    async def event(self, call: Job) -> UsageEvent:
        """The one event of an attempt, once it is there."""
        await until(lambda: self.of(call), "a usage event")
        events = self.of(call)
        assert len(events) == 1
        return events[0]


class Rig:
    """Everything, started."""

    def __init__(self, server: NatsServer, edge: Edge, ledger: Ledger) -> None:
        self.server = server
        self.edge = edge
        self.ledger = ledger
        self.stop = asyncio.Event()
        self.live = Live()
        self.settings = Settings()
        self.worker: asyncio.Task[None] | None = None

    async def reload(self, *pools: PoolSettings, models: tuple[Model, ...]) -> None:
        """Has the worker take these pools and models in place of what it has. Raises SettingsError."""
        await self.live.prepare(2, msgspec.structs.replace(self.settings, pools=pools, models=models))
        await self.live.switch(2)

    def beat(self, pool: str = "openai") -> Beat | None:
        """The last beat of a pool."""
        return next((beat for beat in reversed(self.edge.beats) if beat.pool == pool), None)


@contextlib.asynccontextmanager
async def rig(
    pools: tuple[PoolSettings, ...],
    models: tuple[Model, ...] = (model(),),
    *,
    folder: Path | None = None,
    grace_s: float = 5.0,
    idle_s: float = IDLE_S,
    credit_nano: dict[str, int | None] | None = None,
    signed: bool = True,
    named: bool = True,
) -> AsyncIterator[Rig]:
    """A bus, a ledger, an edge and a worker for these pools, started; stopped in order afterwards.

    Not `named`, the worker serves whatever pools its settings have.
    """
    with NatsServer(folder, signed=signed) as server:
        loop = asyncio.get_running_loop()
        closed = loop.create_future()
        buses = [
            await Bus.connect(server.settings(role), role, name="test", on_closed=lambda: None)
            for role in (Role.EDGE, Role.LEDGER)
        ]
        ledger = Ledger()
        ledger.credit_nano = credit_nano or {}
        admin = await ledger.start(server, buses[1])
        edge = Edge(buses[0])
        await edge.start()
        made = Rig(server, edge, ledger)
        made.settings = settings(server, pools, models, CallSettings(idle_s=idle_s, grace_s=grace_s))
        names = tuple(pool.name for pool in pools) if named else ()
        made.worker = asyncio.create_task(app.serve(made.settings, names, made.stop, live=made.live))
        try:
            await until(
                lambda: made.worker.done() or all(made.beat(pool.name) for pool in pools),
                "the worker's beats",
            )
            if made.worker.done():
                await made.worker
            yield made
        finally:
            closed.cancel()
            made.stop.set()
            await asyncio.wait_for(made.worker, 20)
            for bus in buses:
                await bus.close()
            await admin.close()
