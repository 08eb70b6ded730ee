"""Owns one child process of `tokn up`: how it starts, that it cannot outlive its parent, and how it ends."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from tokn.handing import Frame, Handed, Told, packed

ANSWER_S = 60.0  # how long a child may take to do what a frame says
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_LINE_BYTES_MAX = 16 * 1024


class Program(Struct, frozen=True, kw_only=True):
    """What a child runs. `settings` are what it is handed on standard input, if anything; `stop_s` how long it may take to end."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    settings: Handed | None = None  # with them it has a line to its parent, and answers on standard output
    log: Path | None = None
    stop_s: float
    vital: bool = True  # else its configuration being wrong, or its port taken, ends no other
    asks: bool = False  # it may have a reload made


class ChildError(Exception):
    """A child has not done what a frame says: why."""


def tokn_command(*words: str) -> tuple[str, ...]:
    """A `tokn` command as a child's arguments: seen as `tokn …` in a process list."""
    script = Path(sys.executable).with_name("tokn")
    if script.exists():
        return (sys.executable, str(script), *words)
    return (sys.executable, "-m", "tokn", *words)


class Child:
    """One process of a program."""

    def __init__(
        self,
        program: Program,
        process: asyncio.subprocess.Process,
        line: asyncio.StreamWriter | None = None,
    ) -> None:
        self.program = program
        self.started = time.monotonic()
        self.metrics_port = 0
        self._process = process
        self._line = line
        self._asked: dict[tuple[int, str], asyncio.Future[str]] = {}
        self._tells = process.stdout is not None  # until its output ends

    @classmethod
    async def start(cls, program: Program, lock_fd: int) -> "Child":
        """Starts a program in a session of its own, so that the terminal's Ctrl-C reaches only `tokn up`.

        It inherits the data folder's lock. Call it from the main thread: the parent-death signal is sent when the
        thread that started a child ends. Raises OSError.
        """
        parent = os.getpid()
        with contextlib.ExitStack() as stack:
            error: int | None = None
            if program.log is not None:
                error = stack.enter_context(program.log.open("ab")).fileno()
            line: asyncio.StreamWriter | None = None
            handed = asyncio.subprocess.DEVNULL
            if program.settings is not None:
                # Settings with credentials never touch a disk or a command line.
                ours, theirs = socket.socketpair()
                handed = stack.enter_context(theirs).fileno()
                _, line = await asyncio.open_unix_connection(sock=ours)
                line.write(packed(program.settings))
            try:
                process = await asyncio.create_subprocess_exec(
                    *program.arguments,
                    stdin=handed,
                    stdout=error if line is None else asyncio.subprocess.PIPE,
                    stderr=error,
                    env=program.environment,
                    pass_fds=(lock_fd,),
                    start_new_session=True,
                    preexec_fn=lambda: _die_with(parent),
                    limit=_LINE_BYTES_MAX,
                )
            except BaseException:
                if line is not None:
                    line.close()
                raise
        return cls(program, process, line)

    @property
    def _ended(self) -> str:
        return f"the {self.program.name} has ended, and is started again: try again"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code; negative is the signal that ended it."""
        return await self._process.wait()

    async def listen(self, told: Callable[[], None], asked: Callable[[Told], None]) -> None:
        """Reads what it tells, to the end of its output. `told` is called for its metrics port, `asked` for what it asks for."""
        if self._process.stdout is None:
            return
        try:
            async for line in self._process.stdout:
                with contextlib.suppress(msgspec.MsgspecError):
                    self._heard(msgspec.json.decode(line, type=Told), told, asked)
        except ValueError:  # a line without an end
            while await self._process.stdout.read(_LINE_BYTES_MAX):
                pass
        finally:
            self._tells = False
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_result(self._ended)
            if self._line is not None:
                self._line.close()

    def _heard(self, line: Told, told: Callable[[], None], asked: Callable[[Told], None]) -> None:
        if line.asks:
            asked(line)
        if line.metrics_port:
            self.metrics_port = line.metrics_port
            told()
        answer = self._asked.get((line.generation, line.to))
        if answer is not None and not answer.done():
            answer.set_result(line.error)

    async def ask(self, frame: Frame) -> None:
        """Has it do what a frame says, and waits until it has. Raises ChildError."""
        if self._line is None or not self._tells:
            raise ChildError(self._ended)
        name = (frame.generation, str(frame.__struct_config__.tag))
        answer = self._asked[name] = asyncio.get_running_loop().create_future()
        try:
            self._line.write(packed(frame))
            async with asyncio.timeout(ANSWER_S):
                if error := await answer:
                    raise ChildError(error)
        except TimeoutError:
            raise ChildError(f"the {self.program.name} has not answered for {ANSWER_S:g} s") from None
        finally:
            del self._asked[name]

    def send(self, frame: Frame) -> None:
        """Tells it something that it does not answer."""
        if self._line is not None and self._tells:
            self._line.write(packed(frame))

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not enough in its time."""
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), self.program.stop_s)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if it still runs. A frozen child is woken first, or it could not hear it."""
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGTERM:
                self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)


async def output(arguments: tuple[str, ...], environment: dict[str, str]) -> tuple[int, bytes]:
    """Exit code and standard output of a short program, which ends with its caller. Raises OSError."""
    parent = os.getpid()
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: _die_with(parent),
    )
    try:
        out, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return await process.wait(), out


def _die_with(parent: int) -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above took hold
        os._exit(1)
