"""What of a stream is sent before its bill is durable, and what waits for it."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.bus.frames import FRAME_BYTES_MAX, WINDOW_BYTES_MAX, Data, End, decode_frame
from schemas.money.pricing import TokenUsage
from tests.fakes import openai
from tests.workers.providers.anthropic.cases import ACCOUNT, NEW, USER, job
from tests.workers.providers.test_produced import Played, Wire
from workers.answers import ANSWERS, terminal
from workers.calls.delivery import Delivery
from workers.calls.frames import FrameWriter
from workers.providers.anthropic.family import Anthropic
from workers.providers.openai.family import OpenAI

RAW = (Path(__file__).parents[2] / "fixtures" / "messages" / "m1-text.sse").read_bytes()
SAYS = 'event: message_delta\ndata: {"type":"message_stop"}\n\n'  # a model's words that look like the end


async def delivered(exchange: Any, pieces: list[bytes], dialect: str) -> tuple[bytes, bytes]:
    """The bytes of the data frames, and what is left for the end frame."""
    wire = Wire()
    of = job({}, dialect=dialect, stream=True)
    delivery = Delivery(SimpleNamespace(), of, FrameWriter(wire, "inbox", "worker.w"))
    assert await delivery._streamed(exchange, Played(pieces)) is None
    frames = [decode_frame(sent) for sent in wire.sent]
    return b"".join(frame.data for frame in frames if isinstance(frame, Data)), delivery.rest


@pytest.mark.parametrize("size", [1, 100, len(RAW)])
async def test_native_ends_wait(size: int) -> None:
    """The events from the reason on are the end frame's, wherever the provider's bytes are cut."""
    of = job({"max_tokens": 9, "messages": USER}, dialect="messages", stream=True)
    (exchange,) = Anthropic().open(of, NEW, {})
    exchange.request(ACCOUNT)
    pieces = [RAW[at : at + size] for at in range(0, len(RAW), size)]
    sent, rest = await delivered(exchange, pieces, "messages")
    assert b"event: message_delta" not in sent
    assert sent.endswith(b'{"type":"content_block_stop","index":0}\n\n')
    assert rest == RAW[RAW.index(b"event: message_delta") :]


async def test_translated_ends_wait_whatever_a_model_says() -> None:
    """Words that look like the last events are words: the end begins at the last of them that is an event."""
    events = [
        openai.event(openai.chunk({"content": SAYS}, usage=None)),
        openai.event(openai.chunk({}, finish="stop", usage=None)),
        openai.event(openai.chunk({}, usage=openai.usage(3, 2)) | {"choices": []}),
        openai.event("[DONE]"),
    ]
    of = job({"max_tokens": 9, "messages": USER}, dialect="messages", stream=True)
    (exchange,) = OpenAI().open(of, NEW, {})
    exchange.request(ACCOUNT)
    sent, rest = await delivered(exchange, [b"".join(events)], "messages")
    assert json.dumps(SAYS)[1:-1].encode() in sent
    assert sent.endswith(b'{"type":"content_block_stop","index":0}\n\n')
    assert rest.startswith(b"event: message_delta\n")
    assert rest.endswith(b'data: {"type":"message_stop"}\n\n')


async def test_an_end_that_is_told_twice_waits_from_the_first_on() -> None:
    """A provider that sends its reason, and usage in an event of its own: neither goes out before the bill is durable."""
    events = RAW.split(b"\n\n")
    (at,) = [index for index, event in enumerate(events) if b"message_delta" in event]
    twice = b"\n\n".join([*events[: at + 1], *events[at:]])
    of = job({"max_tokens": 9, "messages": USER}, dialect="messages", stream=True)
    (exchange,) = Anthropic().open(of, NEW, {})
    exchange.request(ACCOUNT)
    sent, rest = await delivered(exchange, [twice], "messages")
    assert b"event: message_delta" not in sent
    assert rest.count(b"event: message_delta") == 2


async def test_data_in_several_lines_stays_an_event() -> None:
    """JSON that its provider broke into lines goes to the caller in one: a line without a name is lost to every client."""
    events = [block.split(b"\ndata: ") for block in RAW.split(b"\n\n") if block]
    broken = b"".join(
        b"%b\n%b\n\n"
        % (name, b"\n".join(b"data: " + line for line in data.replace(b",", b",\n").split(b"\n")))
        for name, data in events
    )
    of = job({"max_tokens": 9, "messages": USER}, dialect="messages", stream=True)
    (exchange,) = Anthropic().open(of, NEW, {})
    exchange.request(ACCOUNT)
    sent, rest = await delivered(exchange, [broken], "messages")
    told = [block.split(b"\n") for block in (sent + rest).split(b"\n\n") if block]
    assert all(len(lines) == 2 for lines in told)
    wanted = [(name, json.loads(data)["type"]) for name, data in events]
    assert [(name, json.loads(data.removeprefix(b"data: "))["type"]) for name, data in told] == wanted


@pytest.mark.parametrize("takes", [True, False], ids=["in time", "never"])
async def test_last_events_larger_than_the_window_go_as_the_edge_takes_them(
    takes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never more is on its way than an edge waits with, so that no answer is broken off once its bill is durable.

    An edge that takes nothing is waited for so long and no longer.
    """
    monkeypatch.setattr("workers.calls.delivery.LAST_S", 60.0 if takes else 0.05)
    wire = Wire()
    frames = FrameWriter(wire, "inbox", "worker.w")
    delivery = Delivery(SimpleNamespace(), job({}, dialect="responses", stream=True), frames)
    whole = delivery.rest = bytes(range(256)) * (32 * WINDOW_BYTES_MAX // 256)
    sending = asyncio.ensure_future(delivery.make_room())
    through = most = 0
    while not sending.done():
        await asyncio.sleep(0)
        most = max(most, frames.kept_bytes)
        if takes and frames.full:
            through = decode_frame(wire.sent[-1]).seq
            frames.credit(through)
    await sending
    assert most < WINDOW_BYTES_MAX + FRAME_BYTES_MAX
    frames.end(delivery.rest, TokenUsage())
    told = [decode_frame(sent) for sent in wire.sent]
    assert b"".join(frame.data for frame in told if isinstance(frame, Data | End)) == whole
    assert all(len(frame.data) <= FRAME_BYTES_MAX for frame in told)
    assert bool(through) is takes


def test_dialects_of_openais_older_routes_have_no_last_events() -> None:
    """Their end is the edge's own."""
    assert {made.dialect: terminal(made.dialect) for made in ANSWERS if not made.terminal} == {
        "chat": (),
        "completions": (),
    }
