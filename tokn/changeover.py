"""Owns how the children of `tokn up` take new settings together: all get ready, and only then does any of them switch."""

import asyncio
import signal
from collections.abc import Callable, Mapping

from runtime.log import get_logger
from runtime.settings.changes import Change
from runtime.settings.settings import Settings, SettingsError
from runtime.tasks import noted
from tokn.child import ChildError, Program
from tokn.handing import ERROR_CHARS_MAX, Dropped, Switched
from tokn.supervisor import Supervisor

_logger = get_logger("tokn.changeover")


class Changeover:
    """The services of one deployment, as one part of a reload.

    `programs` are those that some settings need, in the order of switching, with the settings' number; `took` is told
    which settings hold now.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        programs: Callable[[Settings, int], Mapping[str, Program]],
        took: Callable[[Settings], None],
    ) -> None:
        self._supervisor = supervisor
        self._programs = programs
        self._took = took
        self._current: frozenset[str] = frozenset()  # services that there are now
        self._ready: tuple[Settings, Mapping[str, Program]] | None = None
        self._stops: set[asyncio.Task[None]] = set()

    async def start(self, settings: Settings) -> None:
        """Starts every service, one after the other."""
        programs = self._programs(settings, 1)
        for program in programs.values():
            await self._supervisor.start(program)
        self._current = frozenset(programs)

    async def prepare(self, generation: int, settings: Settings) -> None:
        """Has each service that runs get ready. Raises SettingsError with what the first of them has against it."""
        if not self._current:
            raise SettingsError("tokn up is still starting: try again")
        programs = self._programs(settings, generation)
        for name in programs.keys() - self._current:
            if name in self._supervisor.children:
                raise SettingsError(f"the {name} that was needed no longer still has calls: try again")
        asked = [self._prepare(program) for name, program in programs.items() if name in self._current]
        problems = [
            problem for problem in await asyncio.gather(*asked, return_exceptions=True) if problem is not None
        ]
        for problem in problems:
            if isinstance(problem, ChildError):
                raise SettingsError(str(problem))
            raise problem
        self._ready = (settings, programs)

    async def _prepare(self, program: Program) -> None:
        child = self._supervisor.children.get(program.name)
        if child is None or program.settings is None:
            raise ChildError(f"the {program.name} does not run: try again")
        await child.ask(program.settings)

    async def switch(self, generation: int, changes: tuple[Change, ...] = ()) -> None:
        """Has all switch. One that cannot is ended, and starts again with the new settings, as any does from now on."""
        ready, self._ready = self._ready, None
        if ready is None:
            raise SettingsError("nothing was prepared")
        settings, programs = ready
        self._took(settings)
        for program in programs.values():
            self._supervisor.replace(program)
        for name, program in programs.items():
            if name in self._current:
                await self._switch(program, Switched(generation, changes))
            else:
                await self._supervisor.start(program)
        for name in self._current.difference(programs):
            # It has calls, perhaps, and they their time: nobody waits here.
            stop = asyncio.create_task(self._supervisor.stop(name), name=f"stop of {name}")
            noted(stop)
            self._stops.add(stop)
            stop.add_done_callback(self._stops.discard)
        self._current = frozenset(programs)

    async def _switch(self, program: Program, frame: Switched) -> None:
        child = self._supervisor.children[program.name]
        if program.environment != child.program.environment:
            _logger.warning(
                "variables of the environment that new pools read need a restart", child=program.name
            )
        try:
            await child.ask(frame)
        except ChildError as error:
            why = str(error)
            _logger.error("a child has not switched; it is started again", child=program.name, why=why)  # noqa: TRY400  the reason is all there is
            child.signal(signal.SIGTERM)

    async def settled(self) -> None:
        """Waits until services that are needed no longer have ended; each has its program's `stop_s`."""
        if self._stops:
            await asyncio.wait(self._stops)

    async def drop(self, generation: int, *, ok: bool | None, why: str = "") -> None:
        """Has all stay with what they have."""
        self._ready = None
        for name in self._current:
            if (child := self._supervisor.children.get(name)) is not None:
                child.send(Dropped(generation, ok, why[:ERROR_CHARS_MAX]))
