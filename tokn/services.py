"""Owns starting one service in this process: which settings it gets, which roles it plays, how it is called."""

import asyncio
import ctypes
import gc
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from msgspec import structs

from runtime import log
from runtime.reload import STATUS, Live, Reloads, follow
from runtime.service import EXIT_CONFIGURATION, outlive_terminal, run_service
from runtime.settings.console import ConsoleSettings
from runtime.settings.settings import Settings, SettingsError, load, redacted
from schemas.bus.subjects import Role
from tokn import handing

ROLES = {
    "edge": (Role.EDGE,),
    "worker": (Role.WORKER, Role.USAGE),
    "ledger": (Role.LEDGER,),
    "console": (Role.CONSOLE,),
}
Listens = TypeVar("Listens", Settings, ConsoleSettings)
HANDED = "--handed-settings"  # settings come as JSON on standard input: how `tokn up` starts its children
_STANDARD_INPUT = 0
_PR_SET_NAME = 15


def for_service(settings: Settings, service: str) -> Settings:
    """The part of the settings that a service needs: only workers get credentials, only ledgers the database."""
    return redacted(
        settings,
        ROLES[service],
        credentials=service == "worker",
        pepper=service == "ledger",
        pages=service == "console",
    )


def run_handed(service: str, words: list[str]) -> int:
    """Runs a service whose parent hands it its settings; it announces its metrics port."""
    try:
        STATUS.generation, settings = handing.first(_STANDARD_INPUT)
    except handing.HandingError as error:
        log.say(f"tokn {service}: the settings on standard input cannot be read: {error}")
        return EXIT_CONFIGURATION
    asking = handing.Asking()
    live = Live(asking.ask, together=True)
    # The terminal of `tokn up` is for its key and curl line, and for what is wrong.
    return _run(
        service,
        settings,
        tuple(words),
        live,
        partial(handing.obey, live, asking, _STANDARD_INPUT),
        announce=lambda port: handing.tell(handing.Told(metrics_port=port)),
        log_level=logging.WARNING,
        any_port=True,
    )


def run_standalone(
    service: str,
    config: Path | None,
    *,
    pools: tuple[str, ...] = (),
    data: Path | None = None,
    host: str | None = None,
    port: int | None = None,
) -> int:
    """Runs a service from a file and the environment, which a SIGHUP has it read again. Raises SettingsError."""

    def read() -> Settings:
        found = _needed(service, config, data)
        if service == "console":
            found = structs.replace(found, console=_at(found.console, host, port))
        else:
            found = _at(found, host, port)
        return for_service(found, service)

    settings = read()
    if unknown := [name for name in pools if name not in {pool.name for pool in settings.pools}]:
        raise SettingsError(f"{settings.source}: [pools.{unknown[0]}]: there is no such pool")
    live = Live()
    reloads = Reloads(settings, read, live)
    live.ask = lambda check: reloads.reload(check=check)
    return _run(
        service, settings, pools, live, partial(follow, reloads, service), announce=lambda _port: None
    )


def _at(settings: Listens, host: str | None, port: int | None) -> Listens:
    """The same settings, listening where a command says."""
    return structs.replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
    )


def _needed(service: str, config: Path | None, data: Path | None) -> Settings:
    """The settings of a service that runs alone, with all that it needs. Raises SettingsError."""
    settings = load(
        config,
        credentials=service == "worker",
        books=service == "ledger",
        pages=service == "console",
        data=data,
    )
    if not settings.nats.url:
        raise SettingsError(f"{settings.source}: [nats] url: is needed to run a service by itself")
    if service == "ledger" and not settings.database_url:
        raise SettingsError(
            f"{settings.source}: [ledger] database_url: is needed, or a data folder (TOKN_DATA)"
        )
    if service == "ledger" and not settings.pepper:
        raise SettingsError(
            f"{settings.source}: [ledger] pepper: is needed (or TOKN_PEPPER): a long random text"
        )
    return settings


def _run(
    service: str,
    settings: Settings,
    pools: tuple[str, ...],
    live: Live,
    beside: Callable[[], Coroutine[Any, Any, None]],
    *,
    announce: Callable[[int], None],
    log_level: int = logging.INFO,
    any_port: bool = False,
) -> int:
    outlive_terminal()  # what is loaded below takes a while
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, f"tokn {service}".encode())
    gc.disable()  # nothing that is being loaded is garbage, and looking for some is a tenth of a start
    try:
        serve = _serve(service, settings, pools, live)
    except SettingsError as error:
        log.say(f"tokn {service}: {error}")
        return EXIT_CONFIGURATION
    finally:
        gc.enable()
    return run_service(
        service,
        settings,
        serve,
        announce=None if service == "edge" else announce,  # an edge serves its metrics beside its routes
        any_port=any_port,
        log_level=log_level,
        beside=beside,
    )


def _serve(
    service: str, settings: Settings, pools: tuple[str, ...], live: Live
) -> Callable[[asyncio.Event], Awaitable[None]]:
    # Each process imports only its own service.
    if service == "edge":
        import edge.app  # noqa: PLC0415  each process imports only its own service

        return lambda stop: edge.app.serve(settings, stop, live=live)
    if service == "worker":
        import workers.app  # noqa: PLC0415  as above

        return lambda stop: workers.app.serve(settings, pools, stop, live=live)
    if service == "console":
        import console.app  # noqa: PLC0415  as above

        return lambda stop: console.app.serve(settings, stop, live=live)
    import ledger.app  # noqa: PLC0415  as above

    return lambda stop: ledger.app.serve(settings, stop, live=live)
