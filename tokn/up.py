"""Owns `tokn up`: everything on one machine, started, announced, and stopped in order."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from runtime import log
from runtime.bus.server import ServerOptions, adopt, binary, render
from runtime.catalogue.presets import presets, price_source
from runtime.service import EXIT_FAILED
from runtime.settings.settings import PoolSettings, Settings, SettingsError, encode, load
from schemas.catalogue.families import SANDBOX
from schemas.catalogue.model import Lifecycle
from tokn.child import Program, output, tokn_command
from tokn.folder import ChildRun, Folder, Run
from tokn.services import HANDED, for_service
from tokn.settings import plain_environment, worker_environment
from tokn.supervisor import Supervisor

# How long each kind may take to end, once the calls in flight have had their time.
STOP_S = {"edge": 10.0, "worker": 35.0, "ledger": 20.0, "nats-server": 10.0}
SLOW_STOP_S = 2.0  # a stop that takes longer says what it waits for
STOP_ORDER = ("edge", "worker", "ledger", "nats-server")
SERVING = ("edge", "worker")  # those that have calls
NATS_START_S = 20.0
POLL_S = 0.02
SLOW_START_S = 20.0
FIRST_BALANCE_USD = "5"


class FirstKey(Struct):
    """What the first-key command prints: the key, empty if there were keys already."""

    key: str


class Up:
    """One running deployment on one data folder."""

    def __init__(self, settings: Settings, folder: Folder) -> None:
        self.folder = folder
        self.settings = settings
        self.embedded = not settings.nats.url
        self.nats_port = _free_port() if self.embedded else 0
        self.supervisor = Supervisor(folder.lock_fd, self._changed)
        self._logger = log.get_logger("tokn.up")
        kept = folder.secrets()
        if self.embedded:
            nats = structs.replace(
                settings.nats, url=f"nats://127.0.0.1:{self.nats_port}", passwords=kept.passwords
            )
            self.settings = structs.replace(self.settings, nats=nats)
        if not settings.pepper:
            self.settings = structs.replace(self.settings, pepper=kept.pepper)

    def _changed(self) -> None:
        children = tuple(
            ChildRun(name, child.pid, child.metrics_port) for name, child in self.supervisor.children.items()
        )
        nats = self.settings.nats
        run = Run(os.getpid(), self.base_url, nats.url, nats.passwords.get("command", ""), children)
        with contextlib.suppress(OSError):
            self.folder.write_run(run)

    @property
    def base_url(self) -> str:
        """What callers set as base URL, without `/v1`."""
        if self.settings.public_url:
            return self.settings.public_url.removesuffix("/v1")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.settings.host, self.settings.host)  # noqa: S104  compared with, never listened on
        return f"http://{host}:{self.settings.port}"

    def _nats(self) -> Program:
        options = ServerOptions(
            port=self.nats_port, store=self.folder.store, passwords=self.settings.nats.passwords
        )
        try:
            adopt(self.folder.store)
        except OSError as error:
            raise SettingsError(f"{self.folder.store} cannot be written: {error.strerror}") from None
        self.folder.write(self.folder.nats_config, render(options).encode())
        return Program(
            name="nats-server",
            arguments=(binary(), "-c", str(self.folder.nats_config)),
            environment=plain_environment(),
            log=self.folder.nats_log,
            stop_s=STOP_S["nats-server"],
        )

    def _service(self, service: str, *words: str) -> Program:
        chains = tuple(begin for pool in self.settings.pools for begin in presets()[pool.provider].chain)
        return Program(
            name=service,
            arguments=tokn_command(service, HANDED, *words),
            environment=worker_environment(chains) if service == "worker" else plain_environment(),
            standard_input=encode(for_service(self.settings, service)),
            announces=service != "edge",
            stop_s=STOP_S[service] + (self.settings.calls.grace_s if service in SERVING else 0.0),
        )

    async def start(self) -> None:
        """Starts everything, and returns when each process is there."""
        if self.embedded:
            await self.supervisor.start(self._nats())
            await self._nats_answers()
        await self.supervisor.start(self._service("ledger"))
        names = tuple(pool.name for pool in self.settings.pools)
        if names:
            await self.supervisor.start(self._service("worker", *names))
        await self.supervisor.start(self._service("edge"))

    async def until_ready(self) -> None:
        """Waits until calls can be served."""
        waited_s = 0.0
        while not await self._ready():
            await asyncio.sleep(POLL_S)
            waited_s += POLL_S
            if waited_s > SLOW_START_S:
                self._logger.warning("not ready yet; waiting", ask=f"{self.base_url}/readyz")
                waited_s = 0.0

    async def _nats_answers(self) -> None:
        try:
            async with asyncio.timeout(NATS_START_S):
                while not await _greeted(self.nats_port):  # noqa: ASYNC110  another process is waited for
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise SettingsError(f"nats-server does not start; see {self.folder.nats_log}") from None

    async def _ready(self) -> bool:
        head = await _exchange(
            self.settings.host,
            self.settings.port,
            b"GET /readyz HTTP/1.1\r\nHost: tokn\r\nConnection: close\r\n\r\n",
        )
        return head.startswith(b"HTTP/1.1 200")

    async def first_key(self) -> str:
        """The key made on the first start of this folder; empty on later ones."""
        marker = self.folder.path / "first-key"
        if marker.exists():
            return ""
        # A process of its own, since it needs libraries that this one would then keep in memory for good.
        command = tokn_command("first-key", FIRST_BALANCE_USD, "--data", str(self.folder.path))
        code, out = await output(command, plain_environment())
        if code:
            self._logger.error("no first key was made; make one: tokn key create", code=code)
            return ""
        self.folder.write(marker, b"made\n")
        return msgspec.json.decode(out, type=FirstKey).key

    def announce(self, key: str) -> None:
        """Says on standard output where it runs; with a key also the key and a curl line."""
        lines = [f"tokn is ready: {self.base_url}/v1", *pool_lines(self.settings.pools)]
        if key:
            lines += ["", f"A key with {FIRST_BALANCE_USD} USD, shown only now:", f"  {key}", ""]
            lines += ["Try it:", "", self._curl(key), ""]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    def _curl(self, key: str) -> str:
        body = {"model": self._model(), "messages": [{"role": "user", "content": "Say hello"}]}
        return (
            f"curl -sS {self.base_url}/v1/chat/completions -H 'Authorization: Bearer {key}'"
            f" -H 'Content-Type: application/json' -d '{json.dumps(body)}'"
        )

    def _model(self) -> str:
        families = {pool.name: pool.family for pool in self.settings.pools}
        served = [model for model in self.settings.models if model.pool in families]
        served.sort(key=lambda model: (families[model.pool] != SANDBOX, model.lifecycle is Lifecycle.RETIRED))
        return served[0].id if served else "MODEL"

    async def stop(self) -> None:
        """Ends everything in order: edge, workers, ledger, nats-server."""
        slow = asyncio.get_running_loop().call_later(SLOW_STOP_S, self._say_waiting)
        for name in STOP_ORDER:
            await self.supervisor.stop(name)
        slow.cancel()

    def _say_waiting(self) -> None:
        self._logger.warning(
            "calls in flight are waited for; a second signal ends them now",
            grace_s=self.settings.calls.grace_s,
        )

    def kill(self) -> None:
        """Ends everything at once."""
        for child in self.supervisor.children.values():
            child.signal(signal.SIGKILL)


def pool_lines(pools: tuple[PoolSettings, ...]) -> list[str]:
    """For each pool that no file made, a line that says which variable did, and what it still lacks to sell anything."""
    lines = []
    for pool in pools:
        if not pool.made_by:
            continue
        lacks = (
            "" if price_source(pool.provider) else "; it sells nothing without [[models]] and their prices"
        )
        lines.append(f"Pool {pool.name}: made by {' and '.join(pool.made_by)}{lacks}")
    return lines


def up(config: Path | None, data: Path, host: str | None, port: int | None) -> int:
    """Runs everything until SIGINT or SIGTERM, and answers with the exit code. Raises SettingsError."""
    log.configure("up")
    settings = load(config, credentials=True, data=data)
    settings = structs.replace(
        settings,
        host=host if host is not None else settings.host,
        port=port if port is not None else settings.port,
    )
    settings = structs.replace(settings, port=_checked_port(settings.host, settings.port))
    folder = Folder(data)
    folder.open()
    try:
        return asyncio.run(_run(settings, folder))
    finally:
        folder.close()


async def _run(settings: Settings, folder: Folder) -> int:
    deployment = Up(settings, folder)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            deployment.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)

    async def life() -> None:
        await deployment.start()
        key, _ = await asyncio.gather(deployment.first_key(), deployment.until_ready())
        deployment.announce(key)

    starting = asyncio.create_task(life())
    ending = [asyncio.create_task(stop.wait()), asyncio.create_task(deployment.supervisor.ended.wait())]
    try:
        await asyncio.wait([starting, *ending], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting  # raises what went wrong
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
    except OSError as error:
        sys.stderr.write(f"tokn up: {error}\n")
        return EXIT_FAILED
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await deployment.stop()
        for task in ending:
            task.cancel()
    return deployment.supervisor.exit_code


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _checked_port(host: str, port: int) -> int:
    """The port to listen on; 0 becomes a free one. Raises SettingsError if the edge could not listen there."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], found[1]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
            return int(probe.getsockname()[1])
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SettingsError(f"cannot listen on {host} port {port}: {why}; choose another --port") from None


async def _exchange(host: str, port: int, request: bytes) -> bytes:
    """The first bytes that a server answers with; empty if nothing answers within a second."""

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(request)
            return await reader.read(64)
        finally:
            writer.close()

    return await _within_a_second(ask())


async def _within_a_second(answer: Awaitable[bytes]) -> bytes:
    try:
        return await asyncio.wait_for(answer, 1.0)
    except (OSError, TimeoutError):
        return b""


async def _greeted(port: int) -> bool:
    return (await _exchange("127.0.0.1", port, b"")).startswith(b"INFO")
