"""What of a stream is sent before its bill is durable, and what waits for it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.bus.frames import Data, decode_frame
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


def test_dialects_of_openais_older_routes_have_no_last_events() -> None:
    """Their end is the edge's own."""
    assert {made.dialect: terminal(made.dialect) for made in ANSWERS if not made.terminal} == {
        "chat": (),
        "completions": (),
    }
