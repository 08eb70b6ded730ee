"""Starts a real nats-server with tokn's roles for tests, and does to it what tests need: kill, pause, restart."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from runtime.natsserver import ServerOptions, binary, render
from runtime.settings import NatsSettings
from schemas.subjects import Role

START_TIMEOUT_S = 10.0


class NatsServer:
    """A real nats-server on a loopback port of its own. Stays on the same port and store until `close`.

    >>> with NatsServer() as server:
    ...     bus = await Bus.connect(server.settings(Role.EDGE), Role.EDGE, name="t", on_closed=...)
    """

    def __init__(self, folder: Path | None = None, *, more: str = "") -> None:
        self._own = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="tokn-nats-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.admin_url = f"nats://admin:admin@127.0.0.1:{self.port}"  # a user without limits
        self._passwords = {role.value: f"{role.value}-password" for role in Role}
        self._more = more  # further lines of its configuration
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def store(self) -> Path:
        """JetStream's folder."""
        return self.folder / "store"

    def settings(self, *roles: Role) -> NatsSettings:
        """What a service needs to connect as these roles; all of them when none is named."""
        names = [role.value for role in roles] or list(self._passwords)
        return NatsSettings(url=self.url, passwords={name: self._passwords[name] for name in names})

    def start(self) -> "NatsServer":
        """Starts it and waits until it answers."""
        assert self._process is None
        config = self.folder / "nats.conf"
        options = ServerOptions(
            port=self.port, store=self.store, passwords=self._passwords, admin_password="admin"
        )
        config.write_text(render(options) + self._more)
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary(), "-c", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = (self.folder / "nats.log").read_text()
                self.kill()
                raise RuntimeError(f"nats-server did not start: {text[-2000:]}")
            time.sleep(0.01)
        return self

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        self._process.wait(timeout=START_TIMEOUT_S)
        self._process = None

    def kill(self) -> None:
        """Kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """A clean end."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill -9, then start again on the same port and store."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freezes it (SIGSTOP), and returns when all its threads stand still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        """Ends a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kills it and removes its folder if it made it."""
        self.kill()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5) as probe:
        return probe.recv(4) == b"INFO"
    return False
