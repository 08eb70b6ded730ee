"""Owns receivers of webhooks for tests: real HTTP servers of this machine that note what comes and answer as they are told."""

import asyncio
import ssl
from typing import Any, Self

from standardwebhooks import Webhook

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(code: int, *lines: str, body: str = "") -> bytes:
    """An answer as bytes."""
    head = [f"HTTP/1.1 {code} Some", f"Content-Length: {len(body)}", *lines, "", body]
    return "\r\n".join(head).encode()


class Receiver:
    """One receiver. `said` is what it answers from now on; None closes without a word.

    With a `secret` it takes nothing that the package of Standard Webhooks does not accept at the moment it comes, as
    receivers do: a signature is too old five minutes later.
    """

    def __init__(self, said: bytes | None = OK, tls: ssl.SSLContext | None = None, secret: str = "") -> None:
        self.said = said
        self._secret = secret
        self.events: list[Any] = []  # what was accepted
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.port = 0
        self.connections = 0
        self.wait: asyncio.Event | None = None
        self.holds = False  # it does not close after its answer
        self._tls = tls
        self._server: Any = None
        self._open: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """Where it hears."""
        return f"http://127.0.0.1:{self.port}/hook?a=b"

    @property
    def ids(self) -> list[str]:
        """The ids of what has come, in its order."""
        return [head["webhook-id"] for head in self.heads]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Refuses connections from now on."""
        self._server.close()
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            head = dict(_field(line) for line in lines[1:] if line)
            body = await reader.readexactly(int(head["content-length"]))
            if self._secret:
                self.events.append(Webhook(self._secret).verify(body, head))
            self.paths.append(lines[0].split()[1])
            self.heads.append(head)
            self.bodies.append(body)
            if self.wait is not None:
                await self.wait.wait()
            if self.said is not None:
                writer.write(self.said)
                await writer.drain()
            if self.holds:
                await reader.read(-1)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.transport.abort()

    def verified(self, secret: str) -> list[Any]:
        """What has come, each accepted by the package of Standard Webhooks."""
        return [
            Webhook(secret).verify(body, head) for head, body in zip(self.heads, self.bodies, strict=True)
        ]


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value
