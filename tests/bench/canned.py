"""Owns an upstream that answers from memory, in a process of its own: what is measured against it is the gateway."""

import asyncio
import json
import sys
from typing import ClassVar

import uvloop

from schemas.money.pricing import TokenUsage
from tests.fakes import dialects

ENVELOPE = {"id": "chatcmpl-canned", "created": 1_763_769_600, "model": "canned"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 50, "total_tokens": 59}
WORDS = 50


def _http(body: bytes, kind: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _event(choices: list[dict[str, object]], usage: dict[str, int] | None) -> bytes:
    event = {**ENVELOPE, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    return _chunk(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n")


def _delta(content: dict[str, object], reason: str | None) -> list[dict[str, object]]:
    return [{"index": 0, "delta": content, "logprobs": None, "finish_reason": reason}]


MESSAGE = {"role": "assistant", "content": "word " * WORDS, "refusal": None}
PLAIN = _http(
    json.dumps(
        {
            **ENVELOPE,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}],
            "usage": USAGE,
        }
    ).encode(),
    "application/json",
)
SSE = "text/event-stream; charset=utf-8"
EVENTS = [
    _event(_delta({"role": "assistant", "content": ""}, None), None),
    *(_event(_delta({"content": "word "}, None), None) for _ in range(WORDS)),
    _event(_delta({}, "stop"), None),
    _event([], USAGE) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
]


ANSWER = dialects.Answer(("word ",) * WORDS, TokenUsage(input=9, output=WORDS))
FAMILIES = {
    "anthropic": (SSE, dialects.anthropic_events),
    "gemini": (SSE, dialects.gemini_events),
    "bedrock": ("application/vnd.amazon.eventstream", dialects.bedrock_events),
}
STREAM_SIGNS = (b'"stream":true', b":streamGenerateContent", b"/converse-stream ")


def _head(kind: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def _events(provider: str) -> list[bytes]:
    """The head and the chunks of a stream of fifty words, as a provider sends it."""
    if provider == "openai":
        return [_head(SSE), *EVENTS]
    kind, made = FAMILIES[provider]
    return [_head(kind), *(_chunk(event) for event in made(ANSWER)), b"0\r\n\r\n"]


class Canned(asyncio.Protocol):
    """One connection. A stream goes out a write an event, `pace_s` apart (0: as fast as the loop turns)."""

    pace_s = 0.0
    events: ClassVar[list[bytes]] = []

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each whole request."""
        self._buffer += data
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)  # none: a list
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        asked = head.partition(b"\r\n")[0] + rest[:length].replace(b" ", b"")
        if any(sign in asked for sign in STREAM_SIGNS):
            self._send(0)
        else:
            self._transport.write(PLAIN)

    def _send(self, index: int) -> None:
        if self._transport.is_closing() or index == len(self.events):
            return
        self._transport.write(self.events[index])
        loop = asyncio.get_running_loop()
        if self.pace_s:
            loop.call_later(self.pace_s, self._send, index + 1)
        else:
            loop.call_soon(self._send, index + 1)


async def main() -> None:
    """Serves for ever, as its arguments say (pace, provider); prints the port."""
    Canned.pace_s = float(sys.argv[1])
    Canned.events = _events(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
