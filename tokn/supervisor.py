"""Owns keeping children alive: restarts with growing pauses, an end in order, and one exit code for all."""

import asyncio
import subprocess
import time
from collections.abc import Callable
from functools import partial

from runtime.log import get_logger
from runtime.service import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK
from tokn.child import Child, Program
from tokn.handing import Told

PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 5.0
STEADY_S = 10.0  # a child that has lived so long starts again with the shortest pause

_logger = get_logger("tokn.supervisor")


class Supervisor:
    """Runs programs until it is stopped, or one of them says that its configuration is wrong."""

    def __init__(self, lock_fd: int, on_change: Callable[[], None]) -> None:
        self.children: dict[str, Child] = {}
        self.exit_code = EXIT_OK
        self.asked: Callable[[Child, Told], None] | None = None  # hears what children ask for
        self.ended = asyncio.Event()  # a child's configuration is wrong, or one is kept no longer
        self._lock_fd = lock_fd
        self._on_change = on_change
        self._programs: dict[str, Program] = {}  # what each is started with next
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()

    async def start(self, program: Program) -> None:
        """Starts a program and keeps it running. Raises OSError if it cannot be started at all."""
        self._stopping.discard(program.name)
        self._programs[program.name] = program
        child = await self._spawn(program)
        keeper = asyncio.create_task(self._keep(child), name=program.name)
        keeper.add_done_callback(self._kept)
        self._keepers[program.name] = keeper

    def replace(self, program: Program) -> None:
        """Has the program of this name be started like this from now on; what runs goes on as it is."""
        self._programs[program.name] = program

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        """A keeper has ended. Without it its child would never be started again: then all end, with a code."""
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            _logger.critical("a child is kept no longer", child=keeper.get_name(), exc_info=error)
            self.exit_code = self.exit_code or EXIT_FAILED
            self.ended.set()

    async def _spawn(self, program: Program) -> Child:
        child = await Child.start(program, self._lock_fd)
        self.children[program.name] = child
        self._on_change()
        return child

    async def _keep(self, child: Child) -> None:
        name = child.program.name
        pause_s = PAUSE_MIN_S
        while True:
            listening = asyncio.create_task(child.listen(self._on_change, partial(self._heard, child)))
            try:
                code = await child.wait()
            finally:
                listening.cancel()
            if name in self._stopping:
                return
            if code == EXIT_CONFIGURATION and child.program.vital:
                self.exit_code = EXIT_CONFIGURATION
                self.ended.set()
                return
            lived_s = time.monotonic() - child.started
            pause_s = PAUSE_MIN_S if lived_s >= STEADY_S else pause_s
            _logger.warning("a child ended; starting it again", child=name, code=code, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(PAUSE_MAX_S, pause_s * 2)
            child = await self._respawn(name)

    def _heard(self, child: Child, line: Told) -> None:
        if self.asked is not None:
            self.asked(child, line)

    async def _respawn(self, name: str) -> Child:
        while True:
            try:
                return await self._spawn(self._programs[name])
            except (OSError, subprocess.SubprocessError) as error:
                _logger.exception("a child cannot be started", child=name, exc_info=error)
                await asyncio.sleep(PAUSE_MAX_S)

    async def stop(self, name: str) -> None:
        """Ends one program for good."""
        self._stopping.add(name)
        keeper = self._keepers.pop(name, None)
        child = self.children.get(name)
        if keeper is None or child is None:
            return
        await child.stop()
        keeper.cancel()  # it may be in its pause before a restart
        await asyncio.wait([keeper])  # what ended it before was told
        await self.children[name].stop()  # started by its keeper in the same moment
        del self.children[name]
