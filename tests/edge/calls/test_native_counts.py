"""Counts that a provider makes, as an edge asks for them: one a key, a few at a time, and never waited for long."""

import asyncio

import pytest

from edge.calls import counts as module
from edge.calls.counts import AT_ONCE_MAX, BODY_BYTES_MAX, Counts
from runtime.bus.bus import Message
from schemas.bus.frames import Bounce, Data, Job, encode
from schemas.catalogue.model import Model
from schemas.dialects.messages.counting import COUNT, COUNT_S

MODEL = Model(id="M", pool="p", upstream="up", provider="anthropic", context=200_000, max_output=8_000)
BODY = b'{"model":"M"}'


class Bus:
    """What was offered to which pool."""

    def __init__(self, *, up: bool = True) -> None:
        self.up = up
        self.jobs: list[tuple[str, Job]] = []

    def __call__(self, pool: str, job: Job) -> bool:
        """As `Relay` publishes."""
        self.jobs.append((pool, job))
        return self.up


def heard(data: bytes = b"", *, nobody: bool = False) -> Message:
    """A message at a count's inbox."""
    return Message("inbox", "", data, no_responders=nobody)


async def begun(counts: Counts, bus: Bus, scope: str = "s") -> tuple[asyncio.Task[int | None], str]:
    """A count that is under way, and its id."""
    task = asyncio.create_task(counts.ask(MODEL, BODY, scope, (("anthropic-beta", "x"),)))
    asked = len(bus.jobs)
    while len(bus.jobs) == asked:
        await asyncio.sleep(0)
    return task, bus.jobs[-1][1].request_id


async def test_the_figure_comes_back():
    """A job without a hold goes to the model's pool, and what its worker says is the answer."""
    bus = Bus()
    counts = Counts(bus)
    task, request_id = await begun(counts, bus)
    ((pool, job),) = bus.jobs
    assert (pool, job.dialect, job.hold_list_nano, job.price, job.body) == ("p", COUNT, 0, None, BODY)
    assert (job.scope, job.headers, job.deadline_s) == ("s", (("anthropic-beta", "x"),), COUNT_S)
    assert not counts.hears("other", heard(encode(Data(0, b"1"))))
    assert counts.hears(request_id, heard(encode(Data(0, b"1234"))))
    assert counts.hears(request_id, heard(encode(Data(0, b"99"))))  # the first counts
    assert await task == 1234
    assert not counts.hears(request_id, heard(encode(Data(0, b"5"))))


@pytest.mark.parametrize(
    "message",
    [
        heard(encode(Bounce("w"))),
        heard(b"nonsense"),
        heard(encode(Data(0, b"-1"))),
        heard(encode(Data(0, b"12x"))),
        heard(encode(Data(0, b"9" * 30))),
        heard(nobody=True),
    ],
    ids=["bounced", "nonsense", "negative", "no number", "too many", "nobody"],
)
async def test_what_is_no_figure_is_none(message):
    """A worker that cannot say, nobody at all, and what is no count lead to the estimate."""
    bus = Bus()
    counts = Counts(bus)
    task, request_id = await begun(counts, bus)
    assert counts.hears(request_id, message)
    assert await task is None


async def test_one_a_key_and_a_few_at_a_time():
    """A key's second count is not asked for while the first is; another key's is; beyond the limit nobody's."""
    bus = Bus()
    counts = Counts(bus)
    tasks = [await begun(counts, bus, f"s{at}") for at in range(AT_ONCE_MAX)]
    assert await counts.ask(MODEL, BODY, "s0", ()) is None
    assert await counts.ask(MODEL, BODY, "new", ()) is None
    assert len(bus.jobs) == AT_ONCE_MAX
    for task, request_id in tasks:
        counts.hears(request_id, heard(encode(Data(0, b"7"))))
        assert await task == 7
    task, request_id = await begun(counts, bus, "s0")
    counts.hears(request_id, heard(encode(Data(0, b"8"))))
    assert await task == 8


async def test_nothing_is_asked_in_vain():
    """A body that fits no message, and a bus that is away, are estimated at once."""
    bus = Bus()
    assert await Counts(bus).ask(MODEL, b"x" * (BODY_BYTES_MAX + 1), "s", ()) is None
    assert not bus.jobs
    assert await Counts(Bus(up=False)).ask(MODEL, BODY, "s", ()) is None


async def test_waiting_has_an_end(monkeypatch):
    """No answer in time is the estimate, and the key may ask again."""
    monkeypatch.setattr(module, "COUNT_S", 0.01)
    bus = Bus()
    counts = Counts(bus)
    for _ in range(2):
        assert await counts.ask(MODEL, BODY, "s", ()) is None
    assert len(bus.jobs) == 2
