"""One count of what was produced: the frames of every family say what its worker would estimate."""

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from schemas.bus.frames import Alive, Data, decode_frame
from schemas.bus.usage import estimate, estimate_tokens
from schemas.money.pricing import TokenUsage
from tests.fakes import conversation
from tests.fakes.dialects import Answer
from tests.workers.providers.anthropic import cases as claude
from tests.workers.providers.test_families import ACCOUNT, CASES, TALK, opened, streamed
from workers.calls.accounts import Account
from workers.calls.delivery import Delivery
from workers.calls.frames import FrameWriter
from workers.calls.speeds import Speeds
from workers.providers import family
from workers.providers.anthropic.family import Anthropic
from workers.providers.sandbox.family import SandboxUpstream
from workers.upstream.request import UpstreamRequest

LONG = Answer(tuple(f"Wort{index} größer " for index in range(20)), TokenUsage(input=40, output=60))
EVERY = [*CASES, msgspec.structs.replace(CASES[0], provider="sandbox")]


class Wire:
    """A bus that is always up and keeps what is published."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """As Bus."""
        self.sent.append(data)


class Played:
    """An upstream that answers 200, an event a read."""

    def __init__(self, events: list[bytes]) -> None:
        self._events = [*events, b""]
        self.status = 200
        self.headers: Mapping[str, str] = {}

    async def open(self, request: UpstreamRequest) -> "Played":
        """As Upstream."""
        return self

    async def read(self) -> bytes:
        """As UpstreamAnswer."""
        return self._events.pop(0)

    def close(self) -> None:
        """As UpstreamAnswer."""


async def deliver(
    of: Any, exchanges: list[Any], upstreams: list[Any]
) -> tuple[list[tuple[int, int]], FrameWriter]:
    """The count of each data frame, beside the bytes of output that its exchanges had read by then."""
    wire = Wire()
    frames = FrameWriter(wire, "inbox", "worker.w")
    serving = SimpleNamespace(upstream=None, family=None, speeds=Speeds())
    delivery = Delivery(serving, of, frames)
    counts: list[tuple[int, int]] = []
    publish = wire.publish

    def seen(subject: str, data: bytes, reply: str = "") -> None:
        publish(subject, data, reply)
        frame = decode_frame(data)
        if isinstance(frame, Data):
            counts.append((frame.output_tokens, sum(made.output_bytes for made in exchanges)))

    wire.publish = seen
    for made, upstream in zip(exchanges, upstreams, strict=True):
        serving.upstream = upstream
        assert await delivery.ask(made, made.request(ACCOUNT), Account(ACCOUNT)) is None
    return counts, frames


@pytest.mark.parametrize("case", EVERY, ids=[case.provider for case in EVERY])
@pytest.mark.parametrize("answer", [LONG, TALK], ids=["text", "tools"])
async def test_frames_carry_what_the_worker_would_estimate(case, answer):
    """Each frame's count is a quick estimate of all output so far; it never falls, and the last is that of the whole."""
    of = streamed(conversation.first_request("M"), case)
    if case.provider == "sandbox":
        (made,), upstream = family("sandbox").open(of, case.model, {}), SandboxUpstream(0.0)
    else:
        made, upstream = opened(case, of, {}), Played(case.events(answer))
    counts, frames = await deliver(of, [made], [upstream])
    assert len(counts) > 1
    tokens = [count for count, _ in counts]
    assert tokens == sorted(tokens)
    assert tokens == [estimate_tokens(size) for _, size in counts]
    assert tokens[-1] == frames.output_tokens == estimate_tokens(made.output_bytes) > 0
    billed = estimate(
        None,
        prompt_max=9,
        prompt_tokens=3,
        output_max=10_000,
        output_tokens=estimate_tokens(made.output_bytes),
        answered=True,
    )
    assert billed.output == tokens[-1]


async def test_the_exchanges_of_a_batch_add_up():
    """The prompts of a legacy completion are one call: each frame counts all exchanges so far."""
    of = claude.job({"prompt": ["one", "two"], "max_tokens": 16, "stream": True}, choices=2, stream=True)
    exchanges = Anthropic().open(of, claude.OLD, {})
    case = next(case for case in CASES if case.provider == "anthropic")
    counts, frames = await deliver(of, exchanges, [Played(case.events(LONG)) for _ in exchanges])
    tokens = [count for count, _ in counts]
    assert tokens == sorted(tokens) == [estimate_tokens(size) for _, size in counts]
    assert frames.output_tokens == estimate_tokens(2 * len(LONG.text.encode()))


async def test_output_that_is_not_sent_shows_in_the_sign_of_life():
    """A model that reasons in secret sends no frame; the worker's next sign of life carries the count."""
    case = next(case for case in CASES if case.provider == "anthropic")
    events = case.events(LONG)
    thinking = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "thinking_delta", "thinking": "x" * 9},
    }
    of = claude.job({"prompt": "one", "max_tokens": 16, "stream": True}, stream=True)  # it shows no reasoning
    (made,) = Anthropic().open(of, claude.OLD, {})
    made.feed(events[0])
    wire = Wire()
    frames = FrameWriter(wire, "inbox", "worker.w")
    delivery = Delivery(SimpleNamespace(), of, frames)
    secret = b"data: " + json.dumps(thinking).encode() + b"\n\n"
    with pytest.raises(IndexError):  # the upstream has no more to say for now
        await delivery._streamed(made, _Silent([secret]))
    frames.tick(frames._last_sent + 60)
    assert decode_frame(wire.sent[-1]) == Alive(-1, estimate_tokens(9))


class _Silent(Played):
    def __init__(self, events: list[bytes]) -> None:
        super().__init__(events)
        self._events = events


async def test_reasoning_under_two_names_counts_once():
    """Some servers say their reasoning as `reasoning` and again as `reasoning_content`."""
    case = CASES[0]
    chunk = {"choices": [{"index": 0, "delta": {"reasoning": "x" * 400, "reasoning_content": "x" * 400}}]}
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n", b"data: [DONE]\n\n"]
    of = streamed(conversation.first_request("M"), case)
    _, frames = await deliver(of, [opened(case, of, {})], [Played(events)])
    assert frames.output_tokens == 100
