"""Owns `tokn` commands by the hundred: each a process of its own, forked from one that has read the modules already.

A command is 0.6 s of imports and a few milliseconds of work, and a service is a second of imports. Tests of the
command itself start it as people do (`tests.fakes.tokn.run`); this is for those that ask a deployment something, and
for those that kill one service after another. `tests.fakes.forked` has whole deployments so.
"""

import contextlib
import gc
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

REQUEST_BYTES_MAX = 64 * 1024
FDS = 3  # where the answer goes, its stdout, its stderr
END_TIMEOUT_S = 15.0
TOKN = "tokn.__main__"  # the module whose `main` a command is


class Commands:
    """A process that forks commands and has read some modules. It ends when the process that made it does."""

    def __init__(self, environment: dict[str, str], folder: Path, *modules: str) -> None:
        self._asked, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.commands", str(theirs.fileno()), TOKN, *modules],
                env=environment,
                cwd=folder,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def run(
        self, words: tuple[str, ...], environment: dict[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Runs `tokn` with these words to its end. Raises subprocess.TimeoutExpired; safe for threads."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            ours = self.fork(TOKN, words, environment, out.fileno(), err.fileno())
            ours.settimeout(timeout_s)
            pid = int(ours.recv(16))
            try:
                code = ours.recv(16)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(words, timeout_s) from None
            finally:
                ours.close()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess(words, int(code) if code else -signal.SIGKILL, *texts)

    def fork(
        self,
        module: str,
        words: Sequence[str],
        environment: dict[str, str],
        out: int,
        err: int,
        *,
        folder: str = "",
    ) -> socket.socket:
        """Becomes a module's `main` with these words. The socket says the process id, then the exit code.

        With a `folder` it is in that one, and in a session of its own.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            request = json.dumps([module, words, environment, folder]).encode()
            socket.send_fds(self._asked, [request], [theirs.fileno(), out, err])
        return ours


class Service:
    """A service that can be started again after its end, as `tests.fakes.servers.Process` is. Nobody waits for it."""

    def __init__(
        self, commands: Commands, module: str, words: Sequence[str], environment: dict[str, str], log: Path
    ) -> None:
        self._commands = commands
        self._asked = (module, words, environment)
        self._log = log
        self._link: socket.socket | None = None
        self.pid = 0

    def start(self) -> None:
        """Starts it; it may not answer yet."""
        with self._log.open("ab") as log:
            self._link = self._commands.fork(*self._asked, log.fileno(), log.fileno())
        self._link.settimeout(END_TIMEOUT_S)
        self.pid = int(self._link.recv(16))

    def alive(self) -> bool:
        """Whether it has not ended."""
        if self._link is None:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def end(self, number: signal.Signals) -> None:
        """Sends a signal and waits for its end; nothing if it does not run. Raises TimeoutError."""
        deadline = time.monotonic() + END_TIMEOUT_S
        with contextlib.suppress(ProcessLookupError):
            if self._link is not None:
                os.kill(self.pid, number)
        while self.alive():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._asked[1]} did not end within {END_TIMEOUT_S} s")
            time.sleep(0.005)
        if self._link is not None:
            self._link.close()
            self._link = None


def warm() -> None:
    """Runs a command that finds no ledger: forks then have what reads the words of each, which is most of a short one."""
    cli = importlib.import_module("tokn.cli")
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as nothing, contextlib.redirect_stderr(said):
        code = cli.run(["usage", "--data", nothing])
    assert code == cli.EXIT_NO_LEDGER, said.getvalue()


def serve(asked: socket.socket) -> None:
    """Forks a command for each request, until whoever asks is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    gc.freeze()  # no fork looks through, and so copies, what all of them share
    while True:
        request, fds, _, _ = socket.recv_fds(asked, REQUEST_BYTES_MAX, FDS)
        if not request:
            return
        if os.fork() == 0:
            asked.close()
            command(*json.loads(request), fds)
        for fd in fds:
            os.close(fd)


def command(
    module: str, words: list[str], environment: dict[str, str], folder: str, fds: Sequence[int]
) -> None:
    """Is a module's `main` with these words from here on, and says with which code it ends."""
    answer, out, err = fds
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.write(answer, f"{os.getpid():<16}".encode())
    os.dup2(out, 1)
    os.dup2(err, 2)
    if folder:
        os.chdir(folder)
        os.setsid()
    code = run_main(module, words, environment)
    os.write(answer, str(code).encode())
    os._exit(0)


def run_main(module: str, words: Sequence[str], environment: dict[str, str]) -> int:
    """A module's `main` with these words and this environment, to its end as that of an interpreter: its exit code."""
    code: object = 1
    try:
        os.environ.clear()  # noqa: TID251  a command has the environment that its test gave it
        os.environ.update(environment)  # noqa: TID251  as above
        sys.argv = ["tokn", *words]
        code = importlib.import_module(module).main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  as the interpreter does at the end of a process
        traceback.print_exc()
    with contextlib.suppress(ValueError, OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code if isinstance(code, int) else 1


if __name__ == "__main__":
    for name in sys.argv[2:]:  # so that no command has to
        importlib.import_module(name)
    warm()

    with socket.socket(fileno=int(sys.argv[1])) as listening:
        serve(listening)
