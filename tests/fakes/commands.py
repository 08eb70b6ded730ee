"""Owns `tokn` commands by the hundred: each a process of its own, forked from one that has read the modules already.

A command is 0.6 s of imports and a few milliseconds of work. Tests of the command itself start it as people do
(`tests.fakes.tokn.run`); this is for those that ask a deployment something.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

REQUEST_BYTES_MAX = 64 * 1024
FDS = 3  # where the answer goes, its stdout, its stderr


class Commands:
    """A process that forks commands. It ends when the process that made it does."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._asked, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.commands", str(theirs.fileno())],
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
        ours, theirs = socket.socketpair()
        with ours, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with theirs:
                request = json.dumps([words, environment]).encode()
                socket.send_fds(self._asked, [request], [theirs.fileno(), out.fileno(), err.fileno()])
            ours.settimeout(timeout_s)
            pid = int(ours.recv(16))
            try:
                code = ours.recv(16)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(words, timeout_s) from None
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess(words, int(code) if code else -signal.SIGKILL, *texts)


def serve(asked: socket.socket) -> None:
    """Forks a command for each request, until whoever asks is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    while True:
        request, fds, _, _ = socket.recv_fds(asked, REQUEST_BYTES_MAX, FDS)
        if not request:
            return
        if os.fork() == 0:
            asked.close()
            command(*json.loads(request), *fds)
        for fd in fds:
            os.close(fd)


def command(words: list[str], environment: dict[str, str], answer: int, out: int, err: int) -> None:
    """Is `tokn` with these words from here on, and says with which code it ends."""
    code: object = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.write(answer, f"{os.getpid():<16}".encode())
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.environ.clear()  # noqa: TID251  a command has the environment that its test gave it
        os.environ.update(environment)  # noqa: TID251  as above
        sys.argv = ["tokn", *words]
        code = main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  as the interpreter does at the end of a process
        traceback.print_exc()
    finally:
        with contextlib.suppress(ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os.write(answer, str(code if isinstance(code, int) else 1).encode())
        os._exit(0)


if __name__ == "__main__":
    import tokn.cli  # noqa: F401  so that no command has to
    from tokn.__main__ import main

    with socket.socket(fileno=int(sys.argv[1])) as listening:
        serve(listening)
