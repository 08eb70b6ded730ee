"""Owns an upstream that answers from memory, in a process of its own: what is measured against it is the gateway."""

import asyncio
import json
import sys
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import uvloop

from schemas.money.pricing import TokenUsage
from tests.fakes import anthropic, bedrock_claude, dialects, embeddings, gemini, responses

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
STREAM_SIGNS = (
    b'"stream":true',
    b":streamGenerateContent",
    b"/converse-stream ",
    b"/invoke-with-response-stream ",
)
VECTOR_SIGNS = (b"/embeddings ", b":batchEmbedContents", b"/invoke ")
CLAUDES_SIGN = b"/model/global.anthropic."  # whose plain answers are no vectors
BODIES_MAX = 16  # whose vectors are kept


class Said(NamedTuple):
    """The answer in both forms: a stream is its head, and each of its events."""

    plain: bytes
    stream: list[bytes]


def _said(body: dict[str, Any], events: list[bytes], kind: str = SSE) -> Said:
    return Said(_json(body), [_head(kind), *map(_chunk, events), b"0\r\n\r\n"])


def _head(kind: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def _json(body: dict[str, Any]) -> bytes:
    return _http(json.dumps(body).encode(), "application/json")


def said(provider: str) -> dict[bytes, Said]:
    """What a provider answers, by a sign of the path that it was asked at; the last one is in every path."""
    if provider == "openai":
        return {
            b"/responses ": _said(responses.response(ANSWER), responses.events(ANSWER)),
            b"": Said(PLAIN, [_head(SSE), *EVENTS]),
        }
    if provider == "anthropic":
        whole = anthropic.whole(tuple(dialects.anthropic_objects(ANSWER)))
        return {b"": _said(whole, dialects.anthropic_events(ANSWER))}
    if provider == "gemini":
        whole = gemini.whole(tuple(dialects.gemini_objects(ANSWER)))
        return {b"": _said(whole, dialects.gemini_events(ANSWER))}
    kind = "application/vnd.amazon.eventstream"
    body, events = dialects.bedrock_body(ANSWER), dialects.bedrock_events(ANSWER)
    own = _said(bedrock_claude.message(body), bedrock_claude.retold(events), kind)
    return {b"/invoke": own, b"": _said(body, events, kind)}


@lru_cache(BODIES_MAX)
def vectors(provider: str, line: bytes, body: bytes) -> bytes:
    """The vectors of a body that asks for some, as a provider sends them."""
    asked = json.loads(body)
    if provider == "openai":
        return _json(embeddings.openai_answer(asked))
    if provider == "gemini":
        return _json(embeddings.gemini_answer(asked))
    return _json(embeddings.bedrock_answer(line.decode(), asked)[0])


class Canned(asyncio.Protocol):
    """One connection. A stream goes out a write an event, `pace_s` apart (0: as fast as the loop turns)."""

    pace_s = 0.0
    provider = ""
    said: ClassVar[dict[bytes, Said]] = {}

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
        line, body = head.partition(b"\r\n")[0], rest[:length]
        if any(sign in line for sign in VECTOR_SIGNS) and CLAUDES_SIGN not in line:
            self._transport.write(vectors(self.provider, line, body))
            return
        answer = next(answer for sign, answer in self.said.items() if sign in line)
        asked = line + body.replace(b" ", b"")
        if any(sign in asked for sign in STREAM_SIGNS):
            self._send(answer.stream, 0)
        else:
            self._transport.write(answer.plain)

    def _send(self, events: list[bytes], index: int) -> None:
        if self._transport.is_closing() or index == len(events):
            return
        self._transport.write(events[index])
        loop = asyncio.get_running_loop()
        if self.pace_s:
            loop.call_later(self.pace_s, self._send, events, index + 1)
        else:
            loop.call_soon(self._send, events, index + 1)


async def main() -> None:
    """Serves for ever, as its arguments say (pace, provider); prints the port."""
    Canned.pace_s = float(sys.argv[1])
    Canned.provider = sys.argv[2]
    Canned.said = said(Canned.provider)
    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
