"""Owns one child process of `tokn up`: how it starts, that it cannot outlive its parent, and how it ends."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_LINE_BYTES_MAX = 4096


class Program(Struct, frozen=True, kw_only=True):
    """What a child runs. `standard_input` is all that it can read there; `stop_s` how long it may take to end."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    standard_input: bytes = b""
    log: Path | None = None
    announces: bool = False  # its standard output is one line of JSON with its metrics port
    stop_s: float


class Announcement(Struct):
    """What a service tells its parent on standard output."""

    metrics_port: int


def tokn_command(*words: str) -> tuple[str, ...]:
    """A `tokn` command as a child's arguments: seen as `tokn …` in a process list."""
    script = Path(sys.executable).with_name("tokn")
    if script.exists():
        return (sys.executable, str(script), *words)
    return (sys.executable, "-m", "tokn", *words)


class Child:
    """One process of a program."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process) -> None:
        self.program = program
        self.started = time.monotonic()
        self.metrics_port = 0
        self._process = process

    @classmethod
    async def start(cls, program: Program, lock_fd: int) -> "Child":
        """Starts a program in a session of its own, so that the terminal's Ctrl-C reaches only `tokn up`.

        It inherits the data folder's lock. Call it from the main thread: the parent-death signal is sent when the
        thread that started a child ends. Raises OSError.
        """
        parent = os.getpid()
        handed = _memory_file(program.standard_input)
        try:
            with contextlib.ExitStack() as stack:
                error: int | None = None
                if program.log is not None:
                    error = stack.enter_context(program.log.open("ab")).fileno()
                process = await asyncio.create_subprocess_exec(
                    *program.arguments,
                    stdin=handed,
                    stdout=asyncio.subprocess.PIPE if program.announces else error,
                    stderr=error,
                    env=program.environment,
                    pass_fds=(lock_fd,),
                    start_new_session=True,
                    preexec_fn=lambda: _die_with(parent),
                    limit=_LINE_BYTES_MAX,
                )
        finally:
            os.close(handed)
        return cls(program, process)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code; negative is the signal that ended it."""
        return await self._process.wait()

    async def listen(self, told: Callable[[], None]) -> None:
        """Reads what it announces, to the end of its output."""
        if self._process.stdout is None:
            return
        with contextlib.suppress(ValueError, msgspec.MsgspecError):
            line = await self._process.stdout.readline()
            self.metrics_port = msgspec.json.decode(line, type=Announcement).metrics_port
            told()
        while await self._process.stdout.read(_LINE_BYTES_MAX):
            pass

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


def _memory_file(data: bytes) -> int:
    """A file in memory with `data`, at its start: settings with credentials never touch a disk or a command line."""
    fd = os.memfd_create("tokn-settings") if hasattr(os, "memfd_create") else _unnamed_file()
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _unnamed_file() -> int:
    import tempfile  # noqa: PLC0415  only where there are no memory files

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
