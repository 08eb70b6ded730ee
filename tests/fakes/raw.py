"""Owns a server that sends raw bytes over a real socket: the answer of the case that a request's model names."""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Self

from tests.fakes.compatible import Case

PIECE_BYTES = 97  # of a body, in a write and a chunk of its own: events are cut anywhere
START_S = STOP_S = 10.0


class RawServer:
    """Answers with the cases, by name; `dynamic` ones are made of what was received. Use as a context manager."""

    def __init__(
        self, cases: Mapping[str, Case], dynamic: Mapping[str, Callable[[dict[str, Any]], Case]]
    ) -> None:
        self.received: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._cases = cases
        self._dynamic = dynamic
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(START_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._port = server.sockets[0].getsockname()[1]
        self._up.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET "):  # a worker's question for the list of models: there is none
                writer.write(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            asked = json.loads(await reader.readexactly(length))
            name = asked["model"]
            self.received[name].append(asked)
            case = self._dynamic[name](asked) if name in self._dynamic else self._cases[name]
            await _send(writer, case)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the gateway has hung up
        finally:
            writer.close()


async def _send(writer: asyncio.StreamWriter, case: Case) -> None:
    lines = [f"HTTP/1.1 {case.sent} As-It-Is", f"Content-Type: {case.content_type}", "Connection: close"]
    if case.encoding:
        lines.append(f"Content-Encoding: {case.encoding}")
    chunked = case.content_type == "text/event-stream"
    lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(case.raw)}")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    for start in range(0, len(case.raw), PIECE_BYTES):
        piece = case.raw[start : start + PIECE_BYTES]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
