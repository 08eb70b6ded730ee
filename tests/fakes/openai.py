"""Owns a strict, scriptable upstream that speaks OpenAI's protocol over real HTTP, fast enough to measure against.

`python -m tests.fakes.openai --port 9100 --canned` serves the same answers to everybody, for benchmarks.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from tests.fakes import embeddings
from tests.fakes.lists import Refused, Shown, openai_page

API_KEY = "sk-upstream-canary-0123456789"
CREATED = 1_763_769_600
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")
WORDS = ("alpha ", "beta ", "gamma ", "delta ")


@dataclass
class Received:
    """One request as it came in, and what became of its connection. Times are time.monotonic(), 0.0 for not yet."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    closed_at: float = 0.0
    written: int = 0  # pieces of the answer that went out
    connection: int = 0

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


Piece = bytes | float | asyncio.Event  # bytes to write, seconds to wait, an event to wait for


@dataclass
class Reply:
    """What to answer. `cut` resets the connection after the pieces; `length` sends a content-length, not chunks."""

    status: int = 200
    pieces: list[Piece] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    before: list[float | asyncio.Event] = field(default_factory=list)  # ahead of the head
    cut: bool = False
    silent: bool = False  # no head at all: just the cut
    length: bool = False
    promised: int = 0  # a content-length beyond what is sent
    split: int = 0  # write in pieces of so many bytes, each on its own


Handler = Callable[[Received], Reply]


def event(fields: dict[str, Any] | str) -> bytes:
    """One SSE event."""
    text = (
        fields if isinstance(fields, str) else json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    )
    return f"data: {text}\n\n".encode()


def chunk(
    delta: dict[str, Any], *, finish: str | None = None, model: str = "up", **more: Any
) -> dict[str, Any]:
    """One chunk of a stream with one choice."""
    return {
        "id": "chatcmpl-up1",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        **more,
    }


def usage(prompt: int, completion: int, *, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """A usage object."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


def stream(words: list[str], used: dict[str, Any] | None, *, done: bool = True) -> list[Piece]:
    """The events of a whole streamed answer, one piece each. `used` None leaves the usage chunk out."""
    null = {} if used is None else {"usage": None}
    pieces: list[Piece] = [event(chunk({"role": "assistant", "content": ""}, **null))]
    pieces += [event(chunk({"content": word}, **null)) for word in words]
    pieces.append(event(chunk({}, finish="stop", **null)))
    if used is not None:
        pieces.append(event(chunk({}, usage=used) | {"choices": []}))
    if done:
        pieces.append(event("[DONE]"))
    return pieces


def plain(text: str, used: dict[str, Any] | None, **more: Any) -> bytes:
    """A whole plain answer."""
    body: dict[str, Any] = {
        "id": "chatcmpl-up1",
        "object": "chat.completion",
        "created": CREATED,
        "model": "up",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        **more,
    }
    if used is not None:
        body["usage"] = used
    return json.dumps(body, ensure_ascii=False).encode()


def error(
    status: int, message: str, *, code: str | None = None, kind: str = "x", param: str | None = None
) -> Reply:
    """An error as OpenAI sends it."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Reply(status, [json.dumps(body).encode()], length=True)


def refusal(received: Received) -> Reply | None:
    """What OpenAI would say to a request that is not one, or None: key, path, JSON and the types of known fields."""
    if received.headers.get("authorization") != f"Bearer {API_KEY}":
        return error(401, f"Incorrect API key provided: {API_KEY[:8]}****.", code="invalid_api_key")
    if received.method != "POST" or received.path not in PATHS:
        return error(404, f"Invalid URL ({received.method} {received.path})")
    if received.headers.get("content-type") != "application/json":
        return error(400, "you must provide a JSON body")
    try:
        body = received.json
    except ValueError:
        return error(400, "We could not parse the JSON body of your request.")
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return error(400, "you must provide a model parameter", param="model")
    if received.path == "/v1/chat/completions" and not isinstance(body.get("messages"), list):
        return error(400, "Missing required parameter: 'messages'.", param="messages")
    if body.get("stream_options") is not None and not body.get("stream"):
        return error(400, "stream_options needs stream", param="stream_options")
    if "usage" in body:
        return error(400, "Unrecognized request argument supplied: usage", param="usage")
    if received.path == "/v1/embeddings" and (why := embeddings.refused_by_openai(body)):
        return error(400, why, param="input")
    return None


def answer(received: Received) -> Reply:
    """The usual answer: four words, 7 prompt tokens, one token a word, each choice alike."""
    body = received.json
    used = usage(7, len(WORDS))
    if received.path == "/v1/embeddings":
        return Reply(pieces=[json.dumps(embeddings.openai_answer(body)).encode()], length=True)
    if received.path == "/v1/completions":
        return _legacy(body, used)
    if not body.get("stream"):
        return Reply(pieces=[plain("".join(WORDS), used)], length=True)
    asked = (body.get("stream_options") or {}).get("include_usage")
    return Reply(pieces=stream(list(WORDS), used if asked else None))


def _legacy(body: dict[str, Any], used: dict[str, Any]) -> Reply:
    envelope = {"id": "cmpl-up1", "object": "text_completion", "created": CREATED, "model": "up"}
    if not body.get("stream"):
        choice = {"index": 0, "text": "".join(WORDS), "logprobs": None, "finish_reason": "stop"}
        return Reply(
            pieces=[json.dumps(envelope | {"choices": [choice], "usage": used}).encode()], length=True
        )
    pieces: list[Piece] = [
        event(envelope | {"choices": [{"index": 0, "text": word, "logprobs": None, "finish_reason": None}]})
        for word in WORDS
    ]
    pieces += [event(envelope | {"choices": [], "usage": used}), event("[DONE]")]
    return Reply(pieces=pieces)


def is_list(method: str, path: str) -> bool:
    """Whether a request asks for the list of models."""
    return method == "GET" and path.partition("?")[0].endswith("/models")


class FakeOpenAI:
    """A server on a loopback port. `handler` decides each answer; `received` remembers each request."""

    def __init__(self, handler: Handler = answer, *, strict: bool = True) -> None:
        self.handler = handler
        self.strict = strict
        self.received: list[Received] = []
        self.shown = Shown()
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def base_url(self) -> str:
        """What an account's `base_url` should say."""
        return f"http://127.0.0.1:{self.port}/v1"

    def reply(self, received: Received) -> Reply:
        """Remembers a request and decides its answer. That for the list of models is no call, and is not remembered."""
        if is_list(received.method, received.path):
            return self._list(received)
        self.received.append(received)
        refused = refusal(received) if self.strict else None
        return refused or self.handler(received)

    def _list(self, received: Received) -> Reply:
        if self.shown.raw:
            return Reply(self.shown.status, [self.shown.raw], length=True)
        try:
            page = openai_page(self.shown, received.path, received.headers, API_KEY)
        except Refused as refused:
            return Reply(refused.status, [json.dumps(refused.body).encode()], length=True)
        return Reply(self.shown.status, [json.dumps(page).encode()], length=True)

    async def start(self, port: int = 0) -> Self:
        """Listens."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port)
        return self

    async def close(self) -> None:
        """Stops listening and breaks every connection."""
        assert self._server is not None
        self._server.close()
        for connection in list(self._open):
            connection.abort()
        await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Connection(asyncio.Protocol):
    def __init__(self, fake: FakeOpenAI) -> None:
        self._fake = fake
        self._buffer = bytearray()
        self._head: list[str] | None = None
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._current: Received | None = None
        self._number = 0  # in the order of the first calls: the list of models is asked for at any time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._fake._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fake._open.discard(self)
        if self._current is not None:
            self._current.closed_at = time.monotonic()
            self._current.closed.set()
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
            del self._buffer[: end + 4]
        lines = self._head
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        length = int(headers.get("content-length", "0"))
        if len(self._buffer) < length:
            return
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._head = None
        method, path, _ = lines[0].split(" ", 2)
        if not self._number and not is_list(method, path):
            self._fake.connections += 1
            self._number = self._fake.connections
        received = Received(method, path, headers, body, connection=self._number)
        self._current = received
        self._task = asyncio.ensure_future(self._answer(received, self._fake.reply(received)))

    async def _answer(self, received: Received, reply: Reply) -> None:
        transport = self._transport
        assert transport is not None
        for wait in reply.before:
            await _wait(wait)
        if not reply.silent:
            transport.write(_head(reply))
            for piece in reply.pieces:
                if isinstance(piece, bytes):
                    await self._write(piece, reply)
                    received.written += 1
                else:
                    await _wait(piece)
        if reply.cut:
            transport.close()
        elif not reply.length:
            transport.write(b"0\r\n\r\n")

    async def _write(self, piece: bytes, reply: Reply) -> None:
        assert self._transport is not None
        step = reply.split or len(piece) or 1
        for start in range(0, len(piece), step):
            part = piece[start : start + step]
            self._transport.write(part if reply.length else b"%x\r\n%b\r\n" % (len(part), part))
            if reply.split:
                await asyncio.sleep(0)


async def _wait(wait: float | asyncio.Event) -> None:
    if isinstance(wait, asyncio.Event):
        await wait.wait()
    else:
        await asyncio.sleep(wait)


def _head(reply: Reply) -> bytes:
    headers = {"content-type": "application/json" if reply.length else "text/event-stream", **reply.headers}
    if reply.length:
        sent = sum(len(piece) for piece in reply.pieces if isinstance(piece, bytes))
        headers["content-length"] = str(reply.promised or sent)
    else:
        headers["transfer-encoding"] = "chunked"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} Scripted\r\n{lines}\r\n".encode()


class _Canned(asyncio.Protocol):
    """Answers without looking: 2 precomputed bodies, for measuring what stands in front of it."""

    def __init__(self, whole: bytes, streamed: bytes) -> None:
        self._whole = whole
        self._streamed = streamed
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end >= 0:
            lower = buffer[:end].lower()
            at = lower.find(b"content-length:")
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(buffer) >= end + 4 + length:
                streaming = b'"stream":true' in buffer
                self._transport.write(self._streamed if streaming else self._whole)
                buffer = b""
        self._buffer = buffer


async def serve_canned(port: int, chunks: int = 50) -> asyncio.Server:
    """A server that gives everybody the same answer: plain, or a stream of `chunks` words in one write."""
    body = plain("word " * 20, usage(7, 20))
    whole = _head(Reply(pieces=[body], length=True)) + body
    events = [piece for piece in stream(["word "] * chunks, usage(7, chunks)) if isinstance(piece, bytes)]
    streamed = (
        _head(Reply()) + b"".join(b"%x\r\n%b\r\n" % (len(item), item) for item in events) + b"0\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Canned(whole, streamed), "127.0.0.1", port)


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--canned", action="store_true")
    options = parser.parse_args()
    if options.canned:
        server = await serve_canned(options.port, options.chunks)
        await server.serve_forever()
    async with FakeOpenAI():
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
