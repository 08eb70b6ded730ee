"""Owns a deployment whose parts are processes of their own: nats-server, a database, ledgers, an edge, a worker.

Unlike `tokn up` nothing restarts them but the test, so a fault hits exactly what it names.
"""

import contextlib
import json
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import asyncpg
import psutil

from tests.fakes import collected
from tests.fakes.books import read
from tests.fakes.commands import TOKN, Service
from tests.fakes.nats import NatsServer
from tests.fakes.ports import free_port
from tests.fakes.postgres import PostgresServer
from tests.fakes.tokn import CommandError, ask, commands, environment, status, wait_for

START_S = 30.0


class Separate:
    """`database` is sqlite or postgresql; `pools` is the rest of its tokn.toml; `start` is a module and its first words.

    Its one worker serves the pools named `served`. `urls` are those of its edges.

    Use as a context manager.
    """

    def __init__(
        self,
        database: str,
        pools: str,
        *,
        ledgers: int = 1,
        calls: bool = True,
        start: Sequence[str] = (TOKN,),
        served: Sequence[str] = ("openai",),
        edges: int = 1,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tokn-separate-"))
        self.nats = NatsServer(self.folder / "nats")
        self.postgres = PostgresServer(durable=True) if database == "postgresql" else None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ports = [self.port, *(free_port() for _ in range(1, edges))]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.data = self.folder / "data"
        self.data.mkdir()
        self._pools = pools
        self._start = start
        self.config = self.folder / "tokn.toml"
        self.services: dict[str, Service] = {}
        self.written_off: set[str] = set()
        for index in range(ledgers):
            self._add(f"ledger{index}", "ledger", "--data", str(self.data))
        if calls:
            self._add("worker", "worker", *served)
            for index, port in enumerate(ports):
                self._add(f"edge{index or ''}", "edge", "--port", str(port))

    def _add(self, name: str, *words: str) -> None:
        module, *first = self._start
        told = (*first, *words, "--config", str(self.config))
        self.services[name] = Service(commands(), module, told, environment(), self.folder / f"{name}.log")

    def __enter__(self) -> Self:
        self.nats.start()
        try:
            if self.postgres is not None:
                self.postgres.start()
            self._configure()
            for service in self.services.values():
                service.start()
            if "edge" in self.services:
                wait_for(self.ready, START_S, "the edge is ready")
            else:
                wait_for(self.answers, START_S, "a ledger answers")
        except BaseException:
            self.close()
            raise
        collected.opened(self)
        return self

    def __exit__(self, problem: object, *_: object) -> None:
        try:
            collected.closing(self, failed=problem is not None)
        finally:
            self.close()
        if problem is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _configure(self) -> None:
        secrets = self.folder / "nats.passwords"
        passwords = self.nats.settings().passwords
        secrets.write_text("".join(f"{role} {password}\n" for role, password in passwords.items()))
        address = f'database_url = "{self.postgres.url("postgres")}"' if self.postgres is not None else ""
        self.config.write_text(
            f'[nats]\nurl = "{self.nats.url}"\ncredentials = "file:{secrets}"\n'
            f'[ledger]\npepper = "a pepper for tests"\n{address}\n{self._pools}'
        )

    def configure(self, pools: str) -> None:
        """Writes another configuration, for services that start from now on."""
        self._pools = pools
        self._configure()

    def ready(self) -> bool:
        """Whether `/readyz` says 200."""
        return all(status(int(url.rpartition(":")[2]), "/readyz") == 200 for url in self.urls)

    def answers(self) -> bool:
        """Whether a ledger answers."""
        return ask("key", "list", "--json", "--config", str(self.config)).returncode == 0

    def command(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command prints. Raises CommandError."""
        done = ask(*arguments, "--json", "--config", str(self.config), timeout_s=30)
        if done.returncode and not done.stdout:
            raise CommandError(done.returncode, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def key(self, usd: str = "100", *options: str) -> dict[str, Any]:
        """A new key."""
        (made,) = self.command("key", "create", "--balance", usd, *options)
        return made

    def audit(self) -> dict[str, Any]:
        """The audit's answer; empty while no ledger answers."""
        try:
            return self.command("audit")[0]
        except CommandError:
            return {}

    async def query(self, sql: str) -> Sequence[Any]:
        """Rows of the books, read past the ledger."""
        if self.postgres is not None:
            link = await asyncpg.connect(self.postgres.url("postgres").replace("+asyncpg", ""))
            try:
                return list(await link.fetch(sql))
            finally:
                await link.close()
        path = self.data / "ledger.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as books:
            return books.execute(sql).fetchall()

    def read(self, sql: str) -> Sequence[Any]:
        """As `query`, from where a loop may run."""
        path = self.data / "ledger.db"
        return read(self.postgres.url("postgres") if self.postgres is not None else f"sqlite:///{path}", sql)

    def kill(self, name: str) -> None:
        """Kill -9 of a service."""
        self.services[name].end(signal.SIGKILL)

    def kill_backend(self) -> int:
        """Kill -9 of the process of PostgreSQL that serves a ledger's writer; all of PostgreSQL recovers. 0: none there."""
        assert self.postgres is not None
        for child in psutil.Process(self.postgres.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "postgres postgres" in " ".join(child.cmdline()):
                    child.send_signal(signal.SIGKILL)
                    return child.pid
        return 0

    def said(self, name: str) -> str:
        """A service's whole log."""
        return (self.folder / f"{name}.log").read_text()

    def close(self) -> None:
        """Ends everything in order. The folder with its logs stays where a test has failed."""
        for service in reversed(self.services.values()):
            service.end(signal.SIGTERM)
        self.nats.close()
        if self.postgres is not None:
            self.postgres.close()
