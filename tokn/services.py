"""Owns starting one service in this process: which settings it gets, which roles it plays, how it is called."""

import asyncio
import ctypes
import gc
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from msgspec import structs

from runtime import log
from runtime.service import EXIT_CONFIGURATION, outlive_terminal, run_service
from runtime.settings.settings import Settings, SettingsError, decode, load, redacted
from schemas.bus.subjects import Role

ROLES = {
    "edge": (Role.EDGE,),
    "worker": (Role.WORKER, Role.USAGE),
    "ledger": (Role.LEDGER,),
}
HANDED = "--handed-settings"  # settings come as JSON on standard input: how `tokn up` starts its children
_PR_SET_NAME = 15


def for_service(settings: Settings, service: str) -> Settings:
    """The part of the settings that a service needs: only workers get credentials, only ledgers the database."""
    return redacted(settings, ROLES[service], credentials=service == "worker", pepper=service == "ledger")


def run_handed(service: str, words: list[str]) -> int:
    """Runs a service whose parent hands it its settings; it announces its metrics port."""
    try:
        settings = decode(sys.stdin.buffer.read())
    except msgspec.MsgspecError as error:
        log.say(f"tokn {service}: the settings on standard input cannot be read: {error}")
        return EXIT_CONFIGURATION
    # The terminal of `tokn up` is for its key and curl line, and for what is wrong.
    return _run(service, settings, tuple(words), _announce, logging.WARNING, any_port=True)


def run_standalone(
    service: str,
    config: Path | None,
    *,
    pools: tuple[str, ...] = (),
    data: Path | None = None,
    host: str | None = None,
    port: int | None = None,
) -> int:
    """Runs a service from a file and the environment. Raises SettingsError."""
    settings = load(config, credentials=service == "worker", books=service == "ledger", data=data)
    if not settings.nats.url:
        raise SettingsError(f"{settings.source}: [nats] url: is needed to run a service by itself")
    if unknown := [name for name in pools if name not in {pool.name for pool in settings.pools}]:
        raise SettingsError(f"{settings.source}: [pools.{unknown[0]}]: there is no such pool")
    if service == "ledger" and not settings.database_url:
        raise SettingsError(
            f"{settings.source}: [ledger] database_url: is needed, or a data folder (TOKN_DATA)"
        )
    if service == "ledger" and not settings.pepper:
        raise SettingsError(
            f"{settings.source}: [ledger] pepper: is needed (or TOKN_PEPPER): a long random text"
        )
    settings = structs.replace(
        settings,
        host=host if host is not None else settings.host,
        port=port if port is not None else settings.port,
    )
    return _run(service, for_service(settings, service), pools, lambda _port: None, logging.INFO)


def _announce(port: int) -> None:
    log.tell(json.dumps({"metrics_port": port}) + "\n")


def _run(
    service: str,
    settings: Settings,
    pools: tuple[str, ...],
    announce: Callable[[int], None],
    log_level: int,
    *,
    any_port: bool = False,
) -> int:
    outlive_terminal()  # what is loaded below takes a while
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, f"tokn {service}".encode())
    gc.disable()  # nothing that is being loaded is garbage, and looking for some is a tenth of a start
    try:
        serve = _serve(service, settings, pools)
    except SettingsError as error:
        log.say(f"tokn {service}: {error}")
        return EXIT_CONFIGURATION
    finally:
        gc.enable()
    own_metrics = None if service == "edge" else announce  # an edge serves them beside its routes
    return run_service(service, settings, serve, announce=own_metrics, any_port=any_port, log_level=log_level)


def _serve(
    service: str, settings: Settings, pools: tuple[str, ...]
) -> Callable[[asyncio.Event], Awaitable[None]]:
    # Each process imports only its own service.
    if service == "edge":
        import edge.app  # noqa: PLC0415  each process imports only its own service

        return lambda stop: edge.app.serve(settings, stop)
    if service == "worker":
        import workers.app  # noqa: PLC0415  as above

        return lambda stop: workers.app.serve(settings, pools, stop)
    import ledger.app  # noqa: PLC0415  as above

    return lambda stop: ledger.app.serve(settings, stop)
