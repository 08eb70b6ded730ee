"""Owns a scripted ledger and a scripted worker for edge tests: they speak the real messages on a real nats-server."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from runtime.bus.bus import Bus, BusError, Message, Subscription
from schemas import keys
from schemas.bus import frames, subjects
from schemas.bus.frames import (
    Accept,
    Alive,
    Beat,
    Bounce,
    Cancel,
    Control,
    Credit,
    Data,
    EarlyUsage,
    End,
    Failed,
    Frame,
    Job,
    ModelFact,
    Part,
    Probe,
)
from schemas.bus.subjects import Role
from schemas.bus.usage import estimate_tokens
from schemas.catalogue.aliases import Alias
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Model
from schemas.catalogue.unrouted import Unrouted
from schemas.verbs import VERBS
from schemas.verbs.base import Done, Verb, encode
from schemas.verbs.calls import (
    AUTHORISE,
    REATTEMPT,
    Authorise,
    Granted,
    Hold,
    Reason,
    Refusal,
)
from schemas.verbs.catalogue import CATALOGUE, CatalogueReply
from schemas.verbs.keys import KEY, KeyReply
from schemas.verbs.ping import PING
from schemas.verbs.self import SELF, SelfReply
from schemas.verbs.usage import GENERATION, GenerationReply
from tests.fakes.nats import NatsServer

DEADLINE_S = 60.0
_VERBS = {verb.subject: verb for verb in VERBS}
_ROUTINE = (PING, CATALOGUE)  # asked now and then, whatever calls there are: remembered without a message
_control = msgspec.msgpack.Decoder(Control).decode


async def until(condition: Callable[[], Any], within_s: float = DEADLINE_S) -> Any:
    """The first truthy value of a condition. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s")
        await asyncio.sleep(0.01)
    return value


SCOPE = "5c09e0f0a11ce5e15c09e0f0a11ce5e1"


class ScriptedLedger:
    """Answers an edge as a ledger would, from a few settings, and remembers what it was asked."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.key = keys.generate()
        self.models: tuple[Model, ...] = BUILTIN
        self.aliases: tuple[Alias, ...] = ()
        self.unrouted: tuple[Unrouted, ...] = ()
        self.refusal: Refusal | None = None
        self.active = True
        self.available_nano: int | None = 5_000_000_000  # as the key's own answer has it
        self.key_fields: dict[str, Any] = {}  # what else the key's own answer has
        self.expired_ms = 0  # when a key that is not active ended
        self.reattempt_ok = True
        self.receipts: dict[str, dict[str, Any]] = {}
        self.own: tuple[dict[str, Any], ...] = ()  # what a key reads about itself
        self.asked: list[tuple[Verb[Any, Any], Any]] = []
        self.silent = False
        self.writes = True  # without, it answers pings only: its database is full, or locked
        self._subscription: Subscription | None = None

    async def open(self) -> "ScriptedLedger":
        """Starts to answer."""
        self._subscription = await self.bus.subscribe(
            subjects.LEDGERS, self._on_message, subjects.LEDGER_QUEUE
        )
        return self

    async def leave(self) -> None:
        """Stops to answer, as a ledger that is restarted."""
        assert self._subscription is not None
        await self._subscription.unsubscribe()

    def of(self, verb: Verb[Any, Any]) -> list[Any]:
        """What was asked with one verb."""
        return [message for asked, message in self.asked if asked is verb]

    def _on_message(self, message: Message) -> None:
        verb = _VERBS[message.subject]
        request = None if verb in _ROUTINE else verb.form_decoder.decode(message.data)
        self.asked.append((verb, request))
        if not self.silent and (self.writes or verb is PING):
            self.bus.publish(message.reply, encode(self._answer(verb, request)))

    def _answer(self, verb: Verb[Any, Any], request: Any) -> Any:
        known = self.active and getattr(request, "digest", b"") == keys.digest(self.key)
        if verb is KEY:
            if not known:
                return KeyReply(active=False, expired_ms=self.expired_ms)
            return KeyReply(
                active=True,
                key_id="key_1",
                scope=SCOPE,
                available_nano=self.available_nano,
                **self.key_fields,
            )
        if verb is CATALOGUE:
            return CatalogueReply(self.models, aliases=self.aliases, unrouted=self.unrouted)
        if verb is GENERATION:
            receipt = self.receipts.get(request.request_id) if known else None
            return GenerationReply(known, receipt, expired_ms=0 if known else self.expired_ms)
        if verb is SELF:
            return SelfReply(known, rows=self.own)
        if verb is REATTEMPT:
            return Done(self.reattempt_ok)
        if verb is AUTHORISE:
            return self._authorise(request) if known else Refusal(Reason.UNKNOWN_KEY)
        return Done(ok=self.writes)

    def _authorise(self, request: Authorise) -> Hold | Refusal:
        if self.refusal is not None:
            return self.refusal
        models = {model.id: model for model in self.models}
        model = models[request.model]
        names = [request.model, *(one.model for one in request.others)] if request.others else []
        return Hold(
            request_id=request.request_id,
            token="token",
            key_id="key_1",
            scope=SCOPE,
            amount_nano=1,
            list_nano=1,
            limit=model.max_output if request.limit is None else request.limit,
            limited=False,
            pool=model.pool,
            provider=model.provider,
            upstream=model.upstream,
            price=model.prices[0],
            rate=model.rate,
            candidates=tuple(_granted(place, models[name]) for place, name in enumerate(names, 1)),
        )


def _granted(place: int, model: Model) -> Granted:
    return Granted(
        place=place,
        model=model.id,
        list_nano=place,
        limit=100 * place,
        limited=False,
        pool=model.pool,
        provider=model.provider,
        upstream=model.upstream,
        price=model.prices[0],
        rate=model.rate,
    )


class Attempt:
    """One job as a scripted worker has it: sends frames, and remembers what the edge sends."""

    def __init__(self, worker: "ScriptedWorker", job: Job, inbox: str) -> None:
        self.worker = worker
        self.job = job
        self.inbox = inbox
        self.seq = 0
        self.accepted = False
        self.cancelled = asyncio.Event()
        self.left: bool | None = None  # what that said of the caller
        self.credits: list[int] = []
        self.parts: list[Part] = []
        self._line = b""  # of a stream, not ended yet
        self._output_bytes = 0

    def send(self, frame: Frame) -> None:
        """Sends any frame."""
        with contextlib.suppress(BusError):
            self.worker.bus.publish(self.inbox, frames.encode(frame), subjects.control(self.worker.id))

    def accept(self) -> None:
        """The first frame."""
        self.accepted = True
        self.send(Accept(0, self.worker.id))

    def again(self) -> None:
        """After a reconnect of the worker: an accept goes out again that is all so far, and that no credit covers."""
        if self.accepted and not self.seq and not any(through >= 0 for through in self.credits):
            self.accept()

    def bounce(self, error: Any = None) -> None:
        """The only frame of a job that is not taken."""
        self.send(Bounce(self.worker.id, error))

    def data(self, data: bytes) -> None:
        """Bytes for the caller."""
        self.seq += 1
        self.send(Data(self.seq, data, self._produced(data)))

    def usage(self, usage: Any) -> None:
        """Early usage."""
        self.seq += 1
        self.send(EarlyUsage(self.seq, usage))

    def end(self, data: bytes = b"") -> None:
        """The end."""
        self.seq += 1
        self.send(End(self.seq, data))

    def fail(self, error: Any, *, gives_way: bool = False) -> None:
        """A failure, for good or of this candidate alone."""
        self.seq += 1
        self.send(Failed(self.seq, error, gives_way))

    def alive(self) -> None:
        """A sign of life."""
        self.send(Alive(self.seq, estimate_tokens(self._output_bytes)))

    def _produced(self, data: bytes) -> int:
        """Tokens of output so far, by the words of all events that have ended: as a worker counts them."""
        if self.job.stream:
            *lines, self._line = (self._line + data).split(b"\n")
            self._output_bytes += sum(len(words(line[6:]).encode()) for line in lines if line)
        return estimate_tokens(self._output_bytes)


Script = Callable[[Attempt], Awaitable[None]]


def words(chunk: bytes) -> str:
    """The content of one chunk; none of what is no chunk."""
    try:
        return "".join(
            choice["delta"].get("content") or "" for choice in msgspec.json.decode(chunk)["choices"]
        )
    except (msgspec.MsgspecError, KeyError):
        return ""


def event(text: str, **more: Any) -> bytes:
    """One chunk of a stream."""
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "tokn-sandbox",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
        **more,
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def completion(text: str) -> bytes:
    """A plain answer."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tokn-sandbox",
        "choices": [choice],
    }
    return msgspec.json.encode(answer)


def without_pings(stream: bytes) -> bytes:
    """A stream without its keep-alive comments."""
    return stream.replace(b": ping\n\n", b"")


async def happy(attempt: Attempt) -> None:
    """Accepts, and answers with two words."""
    attempt.accept()
    if attempt.job.stream:
        attempt.data(event("Hello"))
        attempt.data(event(" there"))
        attempt.end()
    else:
        attempt.end(completion("Hello there"))


class ScriptedWorker:
    """Takes the jobs of one pool and runs `script` for each."""

    def __init__(
        self, bus: Bus, jobs: Bus, *, pool: str = "sandbox", models: tuple[str, ...] = ("tokn-sandbox",)
    ) -> None:
        self.bus = bus
        self.jobs = jobs
        self.id = bus.id
        self.pool = pool
        self.models = models
        self.gone: tuple[str, ...] = ()
        self.facts: tuple[ModelFact, ...] = ()
        self.unlisted: tuple[str, ...] = ()
        self.script: Script = happy
        self.attempts: list[Attempt] = []
        self.accepting = True
        self.capacity = 100
        self.answers_probes = True
        self.beats = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._jobs: Subscription | None = None
        self._control: Subscription | None = None
        self._beating: asyncio.Task[None] | None = None

    async def open(self) -> "ScriptedWorker":
        """Starts to beat and to take jobs."""
        self._control = await self.bus.subscribe(subjects.control(self.id), self._on_control)
        await self.take_jobs()
        self.bus.on_reconnect(self._reconnected)
        self._beating = asyncio.create_task(self._beat())
        return self

    async def take_jobs(self) -> None:
        """Joins the queue group."""
        self._jobs = await self.jobs.subscribe(subjects.pool(self.pool), self._on_job, subjects.WORKERS_QUEUE)

    async def leave_jobs(self) -> None:
        """Leaves the queue group, as a full worker does."""
        assert self._jobs is not None
        await self._jobs.unsubscribe()

    async def die(self) -> None:
        """Vanishes from the bus, as after a kill -9."""
        assert self._control is not None
        self.beats = False
        await self.leave_jobs()
        await self._control.unsubscribe()
        for task in self._tasks:
            task.cancel()

    def beat(self) -> None:
        """Says what it can do."""
        with contextlib.suppress(BusError):
            beat = Beat(
                frames.VERSION,
                self.id,
                self.pool,
                self.pool,
                0,
                self.capacity,
                self.accepting,
                self.models,
                self.gone,
                (),
                facts=self.facts,
                unlisted=self.unlisted,
            )
            self.bus.publish(subjects.beat(self.pool, self.id), frames.encode(beat))

    async def _beat(self) -> None:
        while True:
            if self.beats:
                self.beat()
            await asyncio.sleep(0.3)

    def _on_job(self, message: Message) -> None:
        attempt = Attempt(self, frames.decode_job(message.data), message.reply)
        self.attempts.append(attempt)
        task = asyncio.get_running_loop().create_task(self.script(attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_control(self, message: Message) -> None:
        control = _control(message.data)
        if isinstance(control, Probe):
            if self.answers_probes:
                self.bus.publish(message.reply, b"")
            return
        for attempt in self.attempts:
            if attempt.job.request_id == control.request_id and attempt.job.attempt == control.attempt:
                if isinstance(control, Cancel):
                    attempt.left = control.left
                    attempt.cancelled.set()
                elif isinstance(control, Credit):
                    attempt.credits.append(control.through)
                else:
                    attempt.parts.append(control)

    def _reconnected(self) -> None:
        for attempt in self.attempts:
            attempt.again()

    async def close(self) -> None:
        """Ends its tasks."""
        tasks = [*self._tasks, *([self._beating] if self._beating else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def connect(server: NatsServer, role: Role) -> Bus:
    """A connection of a role."""

    def closed() -> None:
        raise AssertionError("the connection was closed for good")

    return await Bus.connect(server.settings(role), role, name="test", on_closed=closed)
