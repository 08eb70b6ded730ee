"""Owns reloads: settings are read again, everybody who uses them prepares, and only if all can, all switch."""

import asyncio
import contextlib
import hashlib
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from runtime import log
from runtime.settings.changes import Change, differences, kept
from runtime.settings.settings import Settings, SettingsError

WATCH_S = 2.0  # between two looks at watched files
AGAIN_S = 10.0  # after a failed reload, until the watched files are tried again as they are

Switch = Callable[[], Awaitable[None]]
Prepare = Callable[[Settings], Awaitable[Switch]]
Read = Callable[[], Settings]


class Status:
    """What metrics say of the configuration of this process."""

    def __init__(self) -> None:
        self.generation = 1  # of what it runs on: 1 is the start's, and later ones are higher
        self.ok = True  # the newest that it was asked to take
        self.at = time.time()  # when that was

    def took(self, generation: int) -> None:
        """It runs on this one now."""
        self.generation, self.ok, self.at = generation, True, time.time()

    def stayed(self, *, ok: bool) -> None:
        """The last good one stays: nothing differed, or `ok` is False."""
        self.ok, self.at = ok, time.time()


STATUS = Status()


class Part(Protocol):
    """Whoever runs on settings. `prepare` changes nothing that anybody sees; then comes either `switch` or `drop`."""

    async def prepare(self, generation: int, settings: Settings) -> None:
        """Gets ready for settings. Raises SettingsError where it cannot run on them."""
        ...

    async def switch(self, generation: int, changes: tuple[Change, ...] = ()) -> None:
        """Runs on them from now on. `changes` are what differs."""
        ...

    async def drop(self, generation: int, *, ok: bool | None, why: str = "") -> None:
        """Stays with what it has: it was only a check (None), nothing differed, or somebody cannot run on it (False): why."""
        ...


class News(Struct, frozen=True):
    """What a reload came to: it was `taken`, with what differs; or nothing differed; or there was a `problem`."""

    generation: int
    taken: bool = False
    changes: tuple[Change, ...] = ()
    problem: str = ""


class Outcome(Struct, frozen=True):
    """What a reload came to: the generation that runs now, and what differs, in lines for people."""

    generation: int
    changes: tuple[Change, ...] = ()


Ask = Callable[[bool], Awaitable[Outcome]]


class Live:
    """A running service as a Part: it says by `follow` how it takes new settings."""

    def __init__(self, ask: Ask | None = None, *, together: bool = False) -> None:
        self.ask = (
            ask  # how this service has a reload made, True to check only; None where nobody would make one
        )
        self.together = together  # what it asks for is then taken by all services of a deployment, or by none
        self._prepare: Prepare | None = None
        self._dropped: Callable[[], None] = _nothing
        self._told: Callable[[News], None] = _unheard
        self._ready: tuple[int, Switch] | None = None

    def follow(
        self,
        prepare: Prepare,
        dropped: Callable[[], None] | None = None,
        told: Callable[[News], None] | None = None,
    ) -> None:
        """From now on the service can take new settings. `dropped` is told of what was prepared and is not taken.

        `told` hears what each reload came to, but for checks.
        """
        self._prepare, self._dropped, self._told = prepare, dropped or _nothing, told or _unheard

    async def prepare(self, generation: int, settings: Settings) -> None:
        """Gets ready. Raises SettingsError, also before the service has started."""
        if self._prepare is None:
            raise SettingsError("a service is still starting: try again")
        self._forget()
        self._ready = (generation, await self._prepare(settings))

    async def switch(self, generation: int, changes: tuple[Change, ...] = ()) -> None:
        """Takes what was prepared under this number. Raises SettingsError if nothing was."""
        if self._ready is None or self._ready[0] != generation:
            self._forget()
            raise SettingsError("nothing was prepared")
        switch, self._ready = self._ready[1], None
        await switch()
        STATUS.took(generation)
        self._told(News(generation, True, changes))

    async def drop(self, generation: int, *, ok: bool | None, why: str = "") -> None:
        """Forgets what was prepared."""
        self._forget()
        if ok is not None:
            STATUS.stayed(ok=ok)
            self._told(News(generation, problem=why))

    def _forget(self) -> None:
        if self._ready is not None:
            self._ready = None
            self._dropped()


def _nothing() -> None:
    """Most services prepare nothing that has to be ended."""


def _unheard(_: News) -> None:
    """Only ledgers tell of reloads."""


class Reloads:
    """Reloads of one process, one at a time. `settings` are those as they were read last and taken."""

    def __init__(self, settings: Settings, read: Read, part: Part) -> None:
        self.settings = settings
        self.generation = 1
        self._started = settings
        self._read = read
        self._part = part
        self._asked = 1  # numbers, each used once
        self._turn = asyncio.Lock()

    async def reload(self, *, check: bool = False) -> Outcome:
        """Reads the settings and has them taken; with `check` only looks whether they could be.

        Raises SettingsError, which names file, table and key; nothing has changed then. Whatever else goes wrong is
        raised, too, and counts as a reload that failed.
        """
        async with self._turn:
            self._asked += 1
            number = self._asked
            try:
                settings = await asyncio.to_thread(self._read)
                changes = differences(self.settings, settings, self._started)
                if differs := settings != self.settings:
                    await self._part.prepare(number, kept(settings, self._started))
            except Exception as error:
                await self._part.drop(
                    number, ok=None if check else False, why="" if check else problem_of(error)
                )
                raise
            if check or not differs:
                await self._part.drop(number, ok=None if check else True)
                return Outcome(self.generation, changes)
            try:
                await self._part.switch(number, changes)
            except Exception as error:
                await self._part.drop(number, ok=False, why=problem_of(error))
                raise
            self.settings, self.generation = settings, number
            return Outcome(number, changes)


def problem_of(error: Exception) -> str:
    """What is told of a reload that failed: a sentence of ours, or else no more than the kind of the failure."""
    return str(error) if isinstance(error, SettingsError) else f"it failed: {type(error).__name__}"


class Watched:
    """Files as they were when somebody looked last: a file that another takes the place of is another, too."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[int, int, int]] = {}
        self._hashes: dict[str, bytes] = {}

    def changed(self, files: Iterable[str]) -> bool:
        """Whether one of them has another content than at the last look, or was not looked at: who knows what was read."""
        found = False
        for path in files:
            mark = _mark(path)
            if self._marks.get(path) == mark:
                continue
            known, told = self._hashes.get(path), _hash(path)
            self._marks[path], self._hashes[path] = mark, told
            found = found or known != told
        return found


def _mark(path: str) -> tuple[int, int, int]:
    try:
        about = os.stat(path)  # noqa: PTH116  follows links, as reading does
    except OSError:
        return (0, 0, 0)
    return (about.st_mtime_ns, about.st_size, about.st_ino)


def _hash(path: str) -> bytes:
    try:
        return hashlib.blake2b(Path(path).read_bytes()).digest()
    except OSError:
        return b""


async def follow(reloads: Reloads, name: str) -> None:
    """Reloads at each SIGHUP, and at changes of the files where the settings say so; until cancelled.

    What failed may have failed for a moment: files that are watched are tried again every AGAIN_S.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    watched = Watched()
    problem: str | None = None  # of the newest reload
    again_at = math.inf
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_S):
                await asked.wait()
        settings, told = reloads.settings, asked.is_set()
        asked.clear()
        changed = settings.watch and await asyncio.to_thread(watched.changed, settings.files)
        if told or changed or (settings.watch and loop.time() >= again_at):
            known = None if told or changed else problem
            problem = await _reload(reloads, name, told=told, known=known)
            again_at = math.inf if problem is None else loop.time() + AGAIN_S


async def _reload(reloads: Reloads, name: str, *, told: bool, known: str | None) -> str | None:
    """Reloads, and answers with what went wrong, None if nothing did. Never raises.

    It says what came of it on standard error: that nothing differs only to who `told` it, and no problem that is
    `known`.
    """
    logger = log.get_logger("runtime.reload")
    try:
        outcome = await reloads.reload()
    except SettingsError as error:
        problem = str(error)
        if problem != known:
            log.say(f"tokn {name}: not reloaded, nothing has changed: {problem}")
        return problem
    except Exception as error:
        problem = repr(error)
        if problem != known:
            logger.exception("a reload failed")
        return problem
    if outcome.changes or told:
        logger.info(
            "configuration reloaded" if outcome.changes else "configuration read again: nothing differs",
            generation=outcome.generation,
            changes=[change.line for change in outcome.changes],
        )
    return None
