"""Owns uvicorn's server as an edge runs it: with a step of its own before connections."""

import asyncio
import socket

from uvicorn import Config

from edge.http.doorstep import Doorstep
from edge.http.places import Places
from runtime.http import OwnServer
from runtime.peers import Trusted


class EdgeServer(OwnServer):
    """One server over sockets that are bound already. At most `waiting` callers wait at each to be let in."""

    def __init__(self, config: Config, *, places: Places, trusted: Trusted, waiting: int) -> None:
        super().__init__(config)
        self._places = places
        self._trusted = trusted
        self._waiting = waiting

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
