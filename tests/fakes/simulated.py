"""Owns calls of a worker on a clock of the test's own: an upstream that produces at a pace, and bills what it has produced.

Nothing waits: a test says how late it is, and everything that is due by then happens.
"""

import asyncio
import json
import types
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import Struct, structs

from runtime.bus.bus import BusError
from runtime.settings.settings import AccountSettings
from schemas.bus import subjects
from schemas.bus.frames import Job
from schemas.bus.usage import UsageEvent
from schemas.catalogue.model import Model
from schemas.money.pricing import TokenUsage
from tests.fakes.dialects import Answer
from workers.calls import bill, call, delivery, frames, refusals, settling
from workers.calls.accounts import Accounts
from workers.calls.call import Call
from workers.calls.drains import Drains
from workers.calls.serving import Counts, Serving
from workers.providers import family
from workers.upstream.request import UpstreamRequest

PER_S = 100.0
HEAD_S = 0.6
PROMPT = 200
WORD = "abc "  # one token, by the rule of estimates
_STEPS = 12  # turns of the loop in which whatever is due has happened


class Clock:
    """The time of one test, in place of the module `time`."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """Now."""
        return self.now

    def time(self) -> float:
        """The same, as if it were the wall's."""
        return self.now

    def time_ns(self) -> int:
        """The same in nanoseconds."""
        return int(self.now * 1e9)


class Produced(Struct, frozen=True):
    """An answer in time: so many tokens of reasoning that nobody sees, then words, at `per_s` from `head_s` on."""

    hidden: int = 480
    words: int = 20
    per_s: float = PER_S
    head_s: float = HEAD_S

    @property
    def total(self) -> int:
        """All tokens of output."""
        return self.hidden + self.words

    @property
    def lasts_s(self) -> float:
        """From the request to the last token."""
        return self.head_s + self.total / self.per_s

    @property
    def usage(self) -> TokenUsage:
        """What is reported at the end."""
        return TokenUsage(input=PROMPT, output=self.words, reasoning=self.hidden)

    @property
    def answer(self) -> Answer:
        """The same for those who write a provider's events."""
        return Answer((WORD,) * self.words, self.usage)

    def by(self, seconds: float) -> int:
        """Tokens produced so long after the request: what is billed if it is hung up on then."""
        return min(self.total, max(0, int((seconds - self.head_s) * self.per_s)))

    def due(self, events: list[bytes]) -> list[tuple[float, bytes]]:
        """When each event of a stream comes: a word when it is produced, the first of the rest with the head, others at the end."""
        found, words = [], 0
        for event in events:
            if words < self.words and WORD.encode() in event:
                words += 1
                at = self.head_s + (self.hidden + words) / self.per_s
            else:
                at = self.head_s if not words else self.lasts_s
            found.append((at, event))
        return found


class _Answering:
    """One answer, as far as it has come."""

    status = 200

    def __init__(self, upstream: "Upstream") -> None:
        self.headers: Mapping[str, str] = {}
        self._upstream = upstream

    async def read(self) -> bytes:
        """What has come since; b"" at the end."""
        return await self._upstream.arrived.get()

    def close(self) -> None:
        """Hung up on, unless it was read to its end."""
        self._upstream.close()


class Upstream:
    """Serves one call."""

    def __init__(self, clock: Clock, due: list[tuple[float, bytes]]) -> None:
        self._clock = clock
        self._due = [*due, (due[-1][0], b"")]
        self._head = asyncio.Event()
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self.asked_at: float | None = None
        self.closed_at: float | None = None

    async def open(self, request: UpstreamRequest) -> _Answering:
        """Waits for the head."""
        del request
        self.asked_at = self._clock.now
        try:
            await self._head.wait()
        except asyncio.CancelledError:
            self.close()
            raise
        return _Answering(self)

    async def aclose(self) -> None:
        """Nothing to close."""

    def close(self) -> None:
        """The worker lets go."""
        if self.closed_at is None and self._due:
            self.closed_at = self._clock.now

    def move(self, seconds: float) -> float | None:
        """Sends what is due so long after the request; when the next is due."""
        while self._due and self._due[0][0] <= seconds:
            self._head.set()
            self.arrived.put_nowait(self._due.pop(0)[1])
        return self._due[0][0] if self._due else None


class _Bus:
    def __init__(self) -> None:
        self.connected = True
        self.sent: list[bytes] = []

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        del subject, reply
        if not self.connected:
            raise BusError("away")
        self.sent.append(data)


class _Events:
    """Usage events, durable at once."""

    def __init__(self) -> None:
        self.told: list[UsageEvent] = []

    def submit(self, event: UsageEvent) -> asyncio.Future[bool]:
        """One more."""
        self.told.append(event)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        future.set_result(True)
        return future


class Worker:
    """One pool of a worker with one model, whose calls run on a clock."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, model: Model, *, capacity: int = 256, **more: Any
    ) -> None:
        self.clock = Clock()
        for module in (bill, call, delivery, frames, refusals, settling):
            monkeypatch.setattr(module, "time", self.clock)
        self.model = model
        self.account = AccountSettings(
            id="main", api_key="k", region="us-east-1", access_key_id="AKIDEXAMPLE", secret_access_key="secret",
            **more.pop("account", {}),
        )  # fmt: skip
        self.bus = _Bus()
        self.events = _Events()
        self.serving = Serving(
            pool=model.pool,
            provider=model.provider,
            worker_id="w",
            control="worker.w",
            bus=self.bus,  # type: ignore[arg-type]  no more of it is needed
            jobs=self.bus,  # type: ignore[arg-type]  as above
            family=family(model.family),
            upstream=types.SimpleNamespace(open=self._open),  # type: ignore[arg-type]  each call has its own
            accounts=Accounts((self.account,)),
            models={model.id: model},
            usage_events=self.events,  # type: ignore[arg-type]  as above
            items=types.SimpleNamespace(keep=lambda *_: None),  # type: ignore[arg-type]  as above
            counts=Counts(),
            idle_s=600.0,
            drains=Drains(capacity),
            **more,
        )
        self._next: Upstream | None = None

    async def _open(self, request: UpstreamRequest) -> _Answering:
        made, self._next = self._next, None
        assert made is not None, "nothing more is to be asked for"
        return await made.open(request)

    async def start(self, job: Job, due: list[tuple[float, bytes]]) -> "Run":
        """A call that has reached its upstream."""
        made = self._next = Upstream(self.clock, due)
        account = self.serving.accounts.all[0]
        account.take(job.hold_list_nano)
        running = Call(self.serving, job, subjects.frames("e", job.request_id, job.attempt), account)
        running.start()
        await settled()
        assert made.asked_at is not None
        return Run(self, running, made)


class Run:
    """One call under way."""

    def __init__(self, worker: Worker, running: Call, upstream: Upstream) -> None:
        self.call = running
        self.upstream = upstream
        self._worker = worker
        self._asked_at = upstream.asked_at or 0.0

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.call.task is not None and self.call.task.done()

    async def until(self, seconds: float) -> None:
        """Lets so many seconds after the request pass: what is due comes at its own time."""
        clock = self._worker.clock
        due = self.upstream.move(clock.now - self._asked_at)
        while due is not None and due <= seconds and not self.over:
            clock.now = self._asked_at + due
            due = self.upstream.move(due + 1e-9)
            await settled()
        clock.now = self._asked_at + seconds
        await settled()

    async def tick(self) -> None:
        """The worker looks at its deadlines."""
        self.call.tick(self._worker.clock.now)
        await settled()

    @property
    def event(self) -> UsageEvent:
        """Its only usage event."""
        (told,) = (one for one in self._worker.events.told if one.request_id == self.call.job.request_id)
        return told


async def settled() -> None:
    """Whatever can happen now has happened."""
    for _ in range(_STEPS):
        await asyncio.sleep(0)


def running_totals(events: list[dict[str, Any]], produced: Produced) -> list[dict[str, Any]]:
    """Gemini's chunks with what each says of the output so far."""
    words, found = 0, []
    for event in events[:-1]:
        words += WORD in json.dumps(event)
        told = {"candidatesTokenCount": words, "thoughtsTokenCount": produced.hidden}
        found.append(event | {"usageMetadata": event["usageMetadata"] | told})
    return [*found, events[-1]]


def served(model: Model, **able: Any) -> Model:
    """A row with other capabilities."""
    return structs.replace(model, capabilities=structs.replace(model.capabilities, **able))
