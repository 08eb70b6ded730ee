"""Owns the two ways to run a server of the tests: a binary of this machine, or a container. `TOKN_TEST_SERVERS` says which."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

END_TIMEOUT_S = 15.0
SHARED_MEMORY = "256m"
LABEL = "tokn-test"  # on every container of the tests, to find those of a run that was killed


def in_containers() -> bool:
    """Whether servers of the tests run in containers. Raises ValueError for a word other than local and containers."""
    word = os.environ.get("TOKN_TEST_SERVERS", "local")  # noqa: TID251  the one place that asks
    if word not in {"local", "containers"}:
        raise ValueError(f"TOKN_TEST_SERVERS is {word!r}; say local or containers")
    return word == "containers"


class Server(Protocol):
    """A server that can be started again after its end, with what it had stored."""

    @property
    def pid(self) -> int:
        """The process id on this machine."""

    def start(self) -> None:
        """Starts it; it may not answer yet."""

    def alive(self) -> bool:
        """Whether it has not ended."""

    def end(self, number: signal.Signals) -> None:
        """Sends a signal and waits for its end; nothing if it does not run."""

    def pause(self) -> None:
        """Freezes it."""

    def resume(self) -> None:
        """Ends a pause."""

    def said(self) -> str:
        """The end of its log."""

    def close(self) -> None:
        """Kills it and forgets what it had stored outside of the test's folder."""


class Process:
    """A binary of this machine. `options` go to Popen: a user, a working directory."""

    def __init__(self, command: Sequence[str | Path], log: Path, **options: Any) -> None:
        self._command = command
        self._log = log
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """As Server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """As Server."""
        assert self._process is None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._options
            )

    def alive(self) -> bool:
        """As Server."""
        return self._process is not None and self._process.poll() is None

    def end(self, number: signal.Signals) -> None:
        """As Server."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(timeout=END_TIMEOUT_S)
            self._process = None

    def pause(self) -> None:
        """As Server."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # The signal is only sent by now; a thread on another core runs on for a moment, and may still answer.
        # WNOWAIT leaves the exit status, should there be one, to Popen.
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """As Server."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def said(self) -> str:
        """As Server."""
        return self._log.read_text()[-2000:]

    def close(self) -> None:
        """As Server."""
        self.end(signal.SIGKILL)


class Container:
    """A container of an image that tests/images/build made, on fixed ports of 127.0.0.1 over all its restarts.

    `ports` are those outside by those inside. `options` are DockerContainer's: a user, an environment, a network. A
    `folder` has the same path inside as outside.
    """

    def __init__(
        self,
        image: str,
        command: Sequence[str],
        ports: Mapping[int, int],
        folder: Path | None = None,
        **options: Any,
    ) -> None:
        # Only runs in containers read what speaks to their engine.
        from testcontainers.core.config import testcontainers_config  # noqa: PLC0415  as above
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415  as above

        # What ends leftovers is the `with` of each test; the reaper would be an image from elsewhere.
        testcontainers_config.ryuk_disabled = True
        self._container = DockerContainer(
            image,
            command=list(command),
            volumes=[(str(folder), str(folder), "rw")] if folder else [],
            labels={LABEL: "1"},
            shm_size=SHARED_MEMORY,
            **options,
        )
        for inside, outside in ports.items():
            self._container.ports[str(inside)] = ("127.0.0.1", outside)
        self._made = False

    @property
    def _handle(self) -> Any:
        return self._container.get_wrapped_container()

    def _status(self) -> str:
        self._handle.reload()
        return str(self._handle.status)

    @property
    def pid(self) -> int:
        """As Server."""
        self._handle.reload()
        return int(self._handle.attrs["State"]["Pid"])

    def start(self) -> None:
        """As Server."""
        if self._made:
            self._handle.start()
        else:
            self._container.start()
            self._made = True

    def alive(self) -> bool:
        """As Server."""
        return self._made and self._status() in {"running", "paused"}

    def end(self, number: signal.Signals) -> None:
        """As Server."""
        if self.alive():
            if self._handle.status == "paused":
                self._handle.unpause()
            self._handle.kill(number.name)
            self._handle.wait(timeout=END_TIMEOUT_S)

    def pause(self) -> None:
        """As Server."""
        self._handle.pause()

    def resume(self) -> None:
        """As Server."""
        if self._status() == "paused":
            self._handle.unpause()

    def said(self) -> str:
        """As Server."""
        return self._handle.logs(tail=50).decode(errors="replace")[-2000:]

    def close(self) -> None:
        """As Server."""
        self._container.stop()
