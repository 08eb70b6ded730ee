"""Starts a real nats-server with tokn's roles for tests, and does to it what tests need: kill, pause, restart."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import nats
from nats.aio.client import Client

from runtime.bus.identity import SEED_BYTES, Identity
from runtime.bus.server import ServerOptions, binary, render
from runtime.settings.settings import NatsSettings
from schemas.bus.subjects import Role
from schemas.permissions import POOL_ROLES
from tests.fakes.ports import free_port
from tests.fakes.servers import Container, Process, Server, in_containers

START_TIMEOUT_S = 10.0
IMAGE = "tokn-test/nats"
POOL = "openai"  # has users of its own, beside those of all pools


class NatsServer:
    """A real nats-server on a loopback port of its own. Stays on the same port and store until `close`.

    `more` is further lines of its configuration; files that they name lie in `folder`, which it can read. Not `signed`, a
    role may name any id.

    >>> with NatsServer() as server:
    ...     bus = await Bus.connect(server.settings(Role.EDGE), Role.EDGE, name="t", on_closed=...)
    """

    def __init__(self, folder: Path | None = None, *, more: str = "", signed: bool = True) -> None:
        self._own = folder is None
        self.signed = signed
        self.folder = folder or Path(tempfile.mkdtemp(prefix="tokn-nats-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        users = [*(role.value for role in Role), *(f"{role.value}.{POOL}" for role in POOL_ROLES)]
        self._passwords = {user: f"{user}-password" for user in users}
        options = ServerOptions(
            host="127.0.0.1",
            port=self.port,
            store=self.store,
            passwords=self._passwords,
            admin_password="admin",
            signed=signed,
        )
        config = self.folder / "nats.conf"
        config.write_text(render(options) + more)
        self._server: Server
        if in_containers():
            # The user, so that what it stores can be removed; the network, so that servers of a cluster find one another.
            user = f"{os.geteuid()}:{os.getegid()}"
            options_of_run = {"user": user, "network_mode": "host"}
            self._server = Container(IMAGE, ["-c", str(config)], {}, self.folder, **options_of_run)
        else:
            self._server = Process([binary(), "-c", str(config)], self.folder / "nats.log")

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._server.pid

    @property
    def store(self) -> Path:
        """JetStream's folder."""
        return self.folder / "store"

    def settings(self, *roles: Role) -> NatsSettings:
        """What a service needs to connect as these roles; all of them when none is named."""
        names = [role.value for role in roles] or list(self._passwords)
        return NatsSettings(url=self.url, passwords={name: self._passwords[name] for name in names})

    async def client(self, role: str, **options: Any) -> tuple[Client, str]:
        """A bare client of one role, or of `admin`, as a thief of its password would make it; and the id it has.

        Both are proved as the server asks: on one that is not `signed`, by the password, and the id is made up.
        """
        password = self._passwords.get(role, role)
        who = Identity(role, password, secrets.token_bytes(SEED_BYTES))
        proof = {"user_jwt_cb": who.token, "signature_cb": who.prove}
        client = await nats.connect(self.url, user=role, password=password, **proof, **options)
        return client, who.id

    def start(self) -> Self:
        """Starts it and waits until it answers."""
        self._server.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.port):
            if not self._server.alive() or time.monotonic() > deadline:
                text = self._server.said()
                self.kill()
                raise RuntimeError(f"nats-server did not start: {text}")
            time.sleep(0.01)
        return self

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._server.alive()

    def kill(self) -> None:
        """Kill -9."""
        self._server.end(signal.SIGKILL)

    def stop(self) -> None:
        """A clean end."""
        self._server.end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill -9, then start again on the same port and store."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freezes it (SIGSTOP, or the engine's freezer)."""
        self._server.pause()

    def resume(self) -> None:
        """Ends a pause."""
        self._server.resume()

    def close(self) -> None:
        """Kills it and removes its folder if it made it."""
        self._server.close()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5) as probe:
        return probe.recv(4) == b"INFO"
    return False
