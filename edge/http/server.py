"""Owns uvicorn's server as an edge runs it: without signal handlers, and with a step of its own before connections."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

from uvicorn import Config, Server

from edge.http.doorstep import Doorstep
from edge.http.places import Places
from runtime.peers import Trusted

DATE_S = 1.0  # so old a date may be


class EdgeServer(Server):
    """One server over sockets that are bound already. At most `waiting` callers wait at each to be let in."""

    def __init__(self, config: Config, *, places: Places, trusted: Trusted, waiting: int) -> None:
        super().__init__(config)
        self._places = places
        self._trusted = trusted
        self._waiting = waiting
        self._leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone: the process has its own handlers."""
        yield

    async def main_loop(self) -> None:
        """Keeps the date of answers, until it is told to leave. uvicorn's own looks for that ten times a second."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_S):
                    await self._leaving.wait()

    def leave(self) -> None:
        """Takes no more connections, and ends once those that there are have been answered."""
        self.should_exit = True
        self._leaving.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens. uvicorn's own way makes a connection of whatever the system has, all in one step of the loop."""
        self.servers = []
        for listener in sockets or ():
            listener.listen(self.config.backlog)
            step = Doorstep(
                listener,
                self._protocol,
                served=self._places.served,
                trusted=self._trusted,
                told=self._places.tell,
                most=self._waiting,
            )
            self.servers.append(step)  # type: ignore[arg-type]  # uvicorn only closes them
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        made = self.config.http_protocol_class
        return made(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg]  # as uvicorn makes them
