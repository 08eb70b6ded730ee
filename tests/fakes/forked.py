"""Owns a `tokn up` whose processes are forked from one that has read every module, for tests of what it does once it runs.

A start reads the modules four times, which is three seconds of CPU. Only that differs: what `tokn up` gives a child
(its files, environment, session, and whom it dies with) is as ever, and nats-server is a program of its own.
Tests of the start itself, of memory, and of what a process list shows start it as people do.
"""

import contextlib
import gc
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.fakes.commands import TOKN, Commands, run_main

MODULE = "tests.fakes.forked"
TOLD_S = 15.0  # until a fork says its process id
_real = subprocess._fork_exec


class Forked:
    """A forked `tokn up`, as what `subprocess.Popen` gives of a started one. Whatever signal ended it is told as SIGKILL."""

    def __init__(
        self,
        commands: Commands,
        module: str,
        words: Sequence[str],
        environment: dict[str, str],
        *,
        folder: Path,
        err: int,
    ) -> None:
        self.returncode: int | None = None
        reading, out = os.pipe()
        self.stdout = os.fdopen(reading)
        try:
            self._link = commands.fork(module, words, environment, out, err, folder=str(folder))
        finally:
            os.close(out)
        self._link.settimeout(TOLD_S)
        self.pid = int(self._link.recv(16))
        self._process = os.pidfd_open(self.pid)  # so that no signal reaches another process with its number

    def poll(self) -> int | None:
        """Its exit code once it has ended."""
        if self.returncode is None and select.select([self._process], [], [], 0)[0]:
            said = self._link.recv(16)
            self.returncode = int(said) if said else -signal.SIGKILL
            self._link.close()
            os.close(self._process)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, waited for. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise subprocess.TimeoutExpired("tokn up", timeout or 0.0)
            select.select([self._process], [], [], left_s)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, if it still runs."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._process, number)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)


def main() -> int:
    """`tokn up` in a forked process, which forks the services and commands that it would start."""
    subprocess._fork_exec = _fork_or_exec  # below asyncio and Popen, so that both stay as they are
    from tokn.__main__ import main as tokn  # noqa: PLC0415  read before the fork

    return tokn()


def _fork_or_exec(*given: Any) -> int:
    """In the place of what `Popen` starts a process with: forks a `tokn` command, starts anything else."""
    words = [os.fsdecode(word) for word in given[0]]
    if words[0] != sys.executable or (words[1:3] != ["-m", "tokn"] and Path(words[1]).name != "tokn"):
        return int(_real(*given))
    kept, env, stdin, stdout, stderr, started, preexec = (given[place] for place in (3, 5, 6, 9, 11, 13, -2))
    words = words[3:] if words[1] == "-m" else words[2:]
    for file in (sys.stdout, sys.stderr):
        file.flush()  # or the fork would write it, too
    if pid := os.fork():
        return pid
    code = 1
    try:
        _begin((stdin, stdout, stderr), kept, started, preexec)
        code = run_main(TOKN, words, _environment(env))
    finally:
        os._exit(code)


def _begin(
    standard: tuple[int, int, int], kept: tuple[int, ...], started: int, preexec: Callable[[], None] | None
) -> None:
    """Makes a fork what a started process would be: no signal, file or loop of its parent's is left to it."""
    gc.freeze()  # nothing of the parent's is ever collected: it would close files that are others' by then
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    for number, fd in enumerate(standard):
        if fd >= 0:
            os.dup2(fd, number)
    if preexec is not None:
        preexec()
    for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if fd >= len(standard) and (fd == started or fd not in kept):
            with contextlib.suppress(OSError):  # the listing's own is closed already
                os.close(fd)


def _environment(env: Sequence[bytes] | None) -> dict[str, str]:
    if env is None:
        return dict(os.environ)  # noqa: TID251  what a child has whose parent says nothing of it
    pairs = (os.fsdecode(pair).partition("=") for pair in env)
    return {name: value for name, _, value in pairs}
