"""Owns the load generator, in a process of its own: keep-alive callers on bare asyncio; prints figures as JSON."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import uvloop

TEXT = "Say fifty words, please."
TALK = {"messages": [{"role": "user", "content": TEXT}]}
# Of each dialect: its path, what its body says beside model and stream, and what the last of its events has in it.
DIALECTS: dict[str, tuple[str, dict[str, Any], bytes]] = {
    "chat": ("/v1/chat/completions", TALK, b"[DONE]"),
    "responses": ("/v1/responses", {"input": TEXT}, b"response.completed"),
    "messages": ("/v1/messages", TALK | {"max_tokens": 500}, b"message_stop"),
    "embeddings": ("/v1/embeddings", {"input": TEXT}, b""),
}


class Caller(asyncio.Protocol):
    """One connection that sends the next request when an answer has ended."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._head = b""
        self._left = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first request."""
        self._transport = transport
        self._next()

    def _next(self) -> None:
        if not self._load.take():
            self._transport.close()
            return
        self._head, self._left, self._tail, self._whole = b"", -1, b"", False
        self._begun = time.perf_counter()
        self._transport.write(next(self._load.requests))

    def data_received(self, data: bytes) -> None:
        """Reads on to the end of the answer."""
        if self._left < 0 and not self._tail:
            self._head += data
            head, mark, data = self._head.partition(b"\r\n\r\n")
            if not mark:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self._load.fail(self._head)
                self._transport.close()
                return
            lowered = head.lower()
            if b"content-length:" in lowered:
                self._left = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0])
            self._tail = b"-"
        if self._left >= 0:
            self._left -= len(data)
            ended = self._left == 0
        else:
            read = self._tail + data
            self._whole = self._whole or self._load.last in read
            self._tail = read[-64:]
            ended = self._tail.endswith(b"\r\n0\r\n\r\n")
            if ended and not self._whole:
                self._load.fail(self._tail)
        if ended:
            self._load.times_s.append(time.perf_counter() - self._begun)
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """One caller less."""
        self._load.leave()


class Load:
    """So many requests over so many connections."""

    def __init__(self, requests: Sequence[bytes], last: bytes, count: int, callers: int) -> None:
        self.requests = itertools.cycle(requests)
        self.last = last  # what the last event of a stream has in it
        self.times_s: list[float] = []
        self.failures: list[str] = []
        self.ended = asyncio.Event()
        self._left = count
        self._callers = callers

    def take(self) -> bool:
        """Whether one more request is to be sent."""
        self._left -= 1
        return self._left >= 0

    def fail(self, answer: bytes) -> None:
        """Keeps what was wrong."""
        self.failures.append(answer[:300].decode(errors="replace"))

    def leave(self) -> None:
        """A connection has closed."""
        self._callers -= 1
        if not self._callers:
            self.ended.set()


async def main() -> None:
    """Runs the load that its argument describes: port, keys in turn, model, stream, count, callers, dialect."""
    port, keys, model, stream, count, callers, dialect = json.loads(sys.argv[1])
    path, fields, last = DIALECTS[dialect]
    body = json.dumps({"model": model} | fields | ({"stream": True} if stream else {})).encode()
    heads = [
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        for key in keys
    ]
    load = Load([head.encode() + body for head in heads], last, count, callers)
    begun = time.perf_counter()
    loop = asyncio.get_running_loop()
    await asyncio.gather(
        *(loop.create_connection(lambda: Caller(load), "127.0.0.1", port) for _ in range(callers))
    )
    await load.ended.wait()
    elapsed_s = time.perf_counter() - begun
    times = sorted(load.times_s)
    figures = {
        "answered": len(times),
        "per_s": len(times) / elapsed_s,
        "p50_ms": times[len(times) // 2] * 1_000 if times else 0,
        "p99_ms": times[len(times) * 99 // 100] * 1_000 if times else 0,
        "failures": load.failures[:3],
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    uvloop.run(main())
