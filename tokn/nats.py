"""Owns the nats-server that `tokn up` embeds: its program, when it is there, and a new start where it stores no more."""

import asyncio
import shutil
import signal
import time
from collections.abc import Callable

from runtime.bus.server import ServerOptions, adopt, binary, render
from runtime.log import get_logger
from runtime.settings.settings import SettingsError
from tokn.child import Child, Program
from tokn.folder import Folder
from tokn.ports import exchange, free_port
from tokn.settings import plain_environment

NAME = "nats-server"
START_S = 20.0
STOP_S = 10.0
POLL_S = 0.02
LOOK_S = 1.0  # between two looks at its health
AGAIN_S = 10.0  # between two restarts for it
ROOM_BYTES_MIN = 1024 * 1024  # below it a restart would end where the last one did
_STUCK = b"write error"  # of a stream; JetStream keeps to the first one until its server ends

_logger = get_logger("tokn.nats")


class EmbeddedNats:
    """The server of one data folder, on ports of its own."""

    def __init__(self, folder: Folder) -> None:
        self.port = free_port()
        self._health_port = free_port()
        self._folder = folder
        self._restarted = 0.0

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"nats://127.0.0.1:{self.port}"

    def program(self, passwords: dict[str, str]) -> Program:
        """What is to be run, with its configuration written, on what an earlier version stored. Raises OSError."""
        adopt(self._folder.store)
        options = ServerOptions(port=self.port, store=self._folder.store, passwords=passwords)
        self._folder.write(self._folder.nats_config, render(options).encode())
        return Program(
            name=NAME,
            arguments=(binary(), "-c", str(self._folder.nats_config), "-m", str(self._health_port)),
            environment=plain_environment(),
            log=self._folder.nats_log,
            stop_s=STOP_S,
        )

    async def answers(self) -> None:
        """Waits for its greeting. Raises SettingsError if none comes."""
        try:
            async with asyncio.timeout(START_S):
                while not (await exchange("127.0.0.1", self.port, b"")).startswith(b"INFO"):  # noqa: ASYNC110  another process is waited for
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise SettingsError(f"nats-server does not start; see {self._folder.nats_log}") from None

    async def watch(self, child: Callable[[], Child | None]) -> None:
        """Ends it where it has once failed to store and would now have the room: its keeper starts it again. Until cancelled.

        JetStream never writes again to a stream of which one write has failed, however empty the disk is by then.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            if (
                time.monotonic() - self._restarted < AGAIN_S
                or not await self._stuck()
                or not self._has_room()
            ):
                continue
            if (running := child()) is not None:
                self._restarted = time.monotonic()
                _logger.warning("nats-server stores no more, though there is room; starting it again")
                running.signal(signal.SIGTERM)

    async def _stuck(self) -> bool:
        head = b"GET /healthz HTTP/1.1\r\nHost: tokn\r\nConnection: close\r\n\r\n"
        return _STUCK in await exchange("127.0.0.1", self._health_port, head, whole=True)

    def _has_room(self) -> bool:
        try:
            return shutil.disk_usage(self._folder.store).free >= ROOM_BYTES_MIN
        except OSError:
            return False
