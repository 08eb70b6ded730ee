"""Owns `tokn up`: everything on one machine, started, announced, and stopped in order."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from runtime import log
from runtime.catalogue.presets import presets, price_source
from runtime.reload import Reloads, follow
from runtime.service import EXIT_FAILED, outlive_terminal
from runtime.settings.changes import kept
from runtime.settings.console import exposed
from runtime.settings.described import given
from runtime.settings.generation import Generation
from runtime.settings.oidc import unsupported
from runtime.settings.settings import PoolSettings, Settings, SettingsError, load
from runtime.tasks import noted
from schemas.catalogue.families import SANDBOX
from schemas.catalogue.model import Lifecycle
from tokn import nats
from tokn.asking import Asked
from tokn.changeover import Changeover
from tokn.child import Program, output, tokn_command
from tokn.folder import ChildRun, Folder, Run
from tokn.handing import handed
from tokn.link import console_answers, console_line
from tokn.nats import EmbeddedNats
from tokn.obliging import Obliging
from tokn.ports import checked_port, exchange, some_port
from tokn.services import HANDED, for_service
from tokn.settings import plain_environment, worker_environment
from tokn.supervisor import Supervisor

# How long each kind may take to end, once the calls in flight have had their time.
STOP_S = {"console": 8.0, "edge": 10.0, "worker": 35.0, "ledger": 20.0, nats.NAME: nats.STOP_S}
SLOW_STOP_S = 2.0  # a stop that takes longer says what it waits for
SWITCH_ORDER = (
    "ledger",
    "worker",
    "edge",
    "console",
)  # starts and reloads: whoever sells comes before whoever asks
STOP_ORDER = ("console", "edge", "worker", "ledger", nats.NAME)
SERVING = ("edge", "worker")  # those that have calls
METRICS_PORT = 9464  # the ledger's, unless `[metrics] port` has another
METRICS_ORDER = (
    "ledger",
    "worker",
    "console",
)  # each has the port after the one before; an edge serves them on its own
PORT_MAX = 65_535
POLL_S = 0.02
RUN_AGAIN_S = 1.0
SLOW_START_S = 20.0
FIRST_BALANCE_USD = "5"
CONSOLE_START_S = 15.0  # after that the start is announced without it


class FirstKey(Struct):
    """What the first-key command prints: the key and its id, empty if there were keys already or none was wanted."""

    key: str = ""
    id: str = ""
    sign_in: str = ""  # the token of a link to the console


class Up:
    """One running deployment on one data folder."""

    def __init__(self, settings: Settings, folder: Folder) -> None:
        self.folder = folder
        self.settings = settings
        self._nats = None if settings.nats.url else EmbeddedNats(folder)
        self.supervisor = Supervisor(folder.lock_fd, self._changed)
        self._logger = log.get_logger("tokn.up")
        self._ready_once = False
        self._said_metrics: dict[str, int] = {}
        self._again: asyncio.TimerHandle | None = None  # of the run file, after one that could not be written
        made = folder.secrets()
        if self._nats is not None:
            own = structs.replace(settings.nats, url=self._nats.url, passwords=made.passwords)
            self.settings = structs.replace(self.settings, nats=own)
        self._pepper = made.pepper
        self.settings = self._peppered(self.settings)
        self.changeover = Changeover(self.supervisor, self._programs, self._took)

    def _programs(self, settings: Settings, generation: int) -> dict[str, Program]:
        """The services that these settings need, as they are started with them."""
        whole = self._peppered(kept(settings, self.settings))
        needed = {"worker": bool(whole.pools), "console": whole.console.enabled}
        return {
            name: self._service(name, whole, generation) for name in SWITCH_ORDER if needed.get(name, True)
        }

    def _peppered(self, settings: Settings) -> Settings:
        """Settings with the pepper of the data folder, where they name none."""
        return settings if settings.pepper else structs.replace(settings, pepper=self._pepper)

    def _took(self, settings: Settings) -> None:
        self.settings = self._peppered(kept(settings, self.settings))

    def _changed(self) -> None:
        self._say_metrics()
        children = tuple(
            ChildRun(name, child.pid, child.metrics_port) for name, child in self.supervisor.children.items()
        )
        bus = self.settings.nats
        run = Run(
            os.getpid(),
            self.base_url,
            bus.url,
            bus.passwords.get("command", ""),
            children,
            self.settings.console.url if self.settings.console.enabled else "",
        )
        try:
            self.folder.write_run(run)
        except OSError:
            # The disk is full, perhaps: commands find what runs by this file, so it is written once there is room.
            if self._again is not None:
                self._again.cancel()
            self._again = asyncio.get_running_loop().call_later(RUN_AGAIN_S, self._changed)

    @property
    def base_url(self) -> str:
        """What callers set as base URL, without `/v1`."""
        if self.settings.public_url:
            return self.settings.public_url.removesuffix("/v1")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.settings.host, self.settings.host)  # noqa: S104  compared with, never listened on
        return f"http://{host}:{self.settings.port}"

    def _service(self, service: str, settings: Settings, generation: int = 1) -> Program:
        chains = tuple(begin for pool in settings.pools for begin in presets()[pool.provider].chain)
        seen = structs.replace(settings, given=given(settings))
        own = structs.replace(for_service(seen, service), metrics_port=self._metrics_port(service))
        return Program(
            name=service,
            arguments=tokn_command(service, HANDED),
            environment=worker_environment(chains) if service == "worker" else plain_environment(),
            settings=handed(generation, own),
            stop_s=STOP_S[service] + (self._serving_s if service in SERVING else 0.0),
            vital=service != "console",
            asks=service == "ledger",  # it has looked at the right of whoever wants it
        )

    def _metrics_port(self, service: str) -> int:
        """The port that its metrics are wanted on: the base, or the one after it."""
        base = self.settings.metrics_port or METRICS_PORT
        port = base + METRICS_ORDER.index(service) if service in METRICS_ORDER else 0
        return port if port <= PORT_MAX else 0

    def _say_metrics(self) -> None:
        """Which ports the metrics have, where they are not the wanted ones; once for each."""
        for name, child in self.supervisor.children.items():
            wanted, port = self._metrics_port(name), child.metrics_port
            if self._ready_once and port and wanted != port != self._said_metrics.get(name):
                self._said_metrics[name] = port
                self._logger.info(
                    "a metrics port is taken; another one is used", child=name, wanted=wanted, port=port
                )

    @property
    def _serving_s(self) -> float:
        return self.settings.connections.drain_s + self.settings.calls.grace_s

    async def start(self) -> None:
        """Starts everything, and returns when each process is there."""
        if self._nats is not None:
            await self.supervisor.start(self._nats.program(self.settings.nats.passwords))
            await self._nats.answers()
        await self.changeover.start(self.settings)

    async def until_ready(self) -> None:
        """Waits until calls can be served."""
        waited_s = 0.0
        while not await self._ready():
            await asyncio.sleep(POLL_S)
            waited_s += POLL_S
            if waited_s > SLOW_START_S:
                self._logger.warning("not ready yet; waiting", ask=f"{self.base_url}/readyz")
                waited_s = 0.0

    async def watch(self) -> None:
        """Looks after what a running child does not do; until cancelled."""
        if self._nats is None:
            await asyncio.Event().wait()
        else:
            await self._nats.watch(lambda: self.supervisor.children.get(nats.NAME))

    async def _ready(self) -> bool:
        head = await exchange(
            self.settings.host,
            self.settings.port,
            b"GET /readyz HTTP/1.1\r\nHost: tokn\r\nConnection: close\r\n\r\n",
        )
        return head.startswith(b"HTTP/1.1 200")

    async def until_console(self) -> None:
        """Waits until the console answers, if there is one, but not for ever: calls can be served without."""
        console, waited_s = self.settings.console, 0.0
        while console.enabled and waited_s < CONSOLE_START_S and not await console_answers(console):
            await asyncio.sleep(POLL_S)
            waited_s += POLL_S

    async def first_key(self) -> FirstKey:
        """The key made on the first start of this folder, and a token for the console there and on a terminal."""
        marker = self.folder.path / "first-key"
        first = not marker.exists()
        sign_in = self.settings.console.enabled and (first or sys.stdout.isatty())
        if not first and not sign_in:
            return FirstKey()
        # A process of its own, since it needs libraries that this one would then keep in memory for good.
        words = (*((FIRST_BALANCE_USD,) if first else ()), *(("--sign-in",) if sign_in else ()))
        command = tokn_command("first-key", *words, "--data", str(self.folder.path))
        code, out = await output(command, plain_environment())
        if code:
            self._logger.error("no first key was made; make one: tokn key create", code=code)
            return FirstKey()
        if first:
            self.folder.write(marker, b"made\n")
        return msgspec.json.decode(out, type=FirstKey)

    def announce(self, first: FirstKey) -> None:
        """Says on standard output where it runs; with a key also the key and a curl line."""
        self._ready_once = True
        self._say_metrics()
        lines = [f"tokn is ready: {self.base_url}/v1"]
        if self.settings.console.enabled:
            lines.append(console_line(self.settings.console, first.sign_in))
        lines += pool_lines(self.settings.pools)
        if first.key:
            lines += ["", f"A key with {FIRST_BALANCE_USD} USD, shown only now (its id is {first.id}):"]
            lines += [f"  {first.key}", "", "Try it:", "", self._curl(first.key), ""]
        else:
            lines += ["", f"Another key: tokn key create --balance {FIRST_BALANCE_USD}", ""]
        if not log.tell("\n".join(lines) + "\n"):  # what runs is worth more than these lines
            self._logger.error("standard output takes nothing; a key: tokn key create", url=self.base_url)

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
            if name == "edge":
                # The calls of a worker that a reload let go need the ledger and the bus.
                await self.changeover.settled()
        slow.cancel()
        if self._again is not None:
            self._again.cancel()

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


def up(
    config: Path | None,
    data: Path,
    host: str | None,
    port: int | None,
    *,
    console_port: int | None = None,
    console: bool = True,
) -> int:
    """Runs everything until SIGINT or SIGTERM, and answers with the exit code. Raises SettingsError."""
    outlive_terminal()
    log.configure("up")

    def read() -> Settings:
        found = alone(load(config, credentials=True, data=data))
        host_set, port_set = (found.host if host is None else host), (found.port if port is None else port)
        own = structs.replace(
            found.console,
            enabled=found.console.enabled and console,
            port=found.console.port if console_port is None else console_port,
        )
        return structs.replace(found, host=host_set, port=port_set, console=own)

    settings = read()
    if settings.console.enabled and (why := exposed(settings.console)):
        raise SettingsError(f"{settings.source}: [console]: {why}")
    if why := unsupported(settings.console.oidc):
        raise SettingsError(f"{settings.source}: [console.oidc]: {why}")
    port_taken = checked_port(settings.host, settings.port)
    own = settings.console
    if own.enabled:
        own = structs.replace(own, port=some_port(own.host, own.port))
    folder = Folder(data)
    folder.open()
    try:
        deployment = Up(structs.replace(settings, port=port_taken, console=own), folder)
        return asyncio.run(_run(deployment, Reloads(settings, read, deployment.changeover)))
    finally:
        folder.close()


def alone(settings: Settings) -> Settings:
    """Settings of a deployment whose books nobody else can open: by when its file changed it stands back to none."""
    if settings.generation.number or not settings.database_url.startswith("sqlite"):
        return settings
    return structs.replace(settings, generation=Generation())


async def _run(deployment: Up, reloads: Reloads) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            deployment.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)

    starting, watching = asyncio.create_task(_start(deployment)), asyncio.create_task(deployment.watch())
    reloading = asyncio.create_task(_reload(deployment, reloads), name="reloads")
    noted(reloading)  # what runs is worth more than its reloads
    ended = deployment.supervisor.ended
    ending = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(ended.wait()), watching]
    try:
        await asyncio.wait([starting, *ending], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting  # raises what went wrong
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await watching  # it never ends by itself: this raises what ended it
    except OSError as error:
        log.say(f"tokn up: {error}")
        return EXIT_FAILED
    finally:
        starting.cancel()
        reloading.cancel()
        await asyncio.gather(starting, reloading, return_exceptions=True)
        for one in ending:
            one.cancel()
        await deployment.stop()
    return deployment.supervisor.exit_code


async def _start(deployment: Up) -> None:
    await deployment.start()
    first, _, _ = await asyncio.gather(
        deployment.first_key(), deployment.until_ready(), deployment.until_console()
    )
    deployment.announce(first)


async def _reload(deployment: Up, reloads: Reloads) -> None:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(Obliging(deployment.supervisor, reloads))
        try:
            await stack.enter_async_context(Asked(deployment.folder, reloads))
        except OSError as error:  # a file system without sockets, perhaps
            log.say(f"tokn up: tokn reload cannot reach it, SIGHUP can: {error}")
        await follow(reloads, "up")
