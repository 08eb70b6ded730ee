"""Owns the life of a service process: event loop, signals, metrics, logging and exit codes."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import uvloop

from runtime import descriptors, log
from runtime.settings.settings import Settings, SettingsError
from runtime.tasks import noted

if TYPE_CHECKING:
    from runtime.metrics import MetricsServer

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIGURATION = 3  # a supervisor does not restart on it

# A look for cycles takes time that grows with what it looks through, and what a call needs goes by its count of references.
GARBAGE_OBJECTS = 20_000  # made and not yet gone before the next look: some megabytes
GARBAGE_GENERATIONS = (10, 10)  # looks before the next older generation is looked through, too

_logger = log.get_logger("runtime.service")


def end_process() -> None:
    """Ends this process now: its bus connection is closed for good, and only a restart helps. Give it to `Bus.connect`."""
    _logger.critical("the bus connection is closed for good; ending the process")
    os._exit(EXIT_FAILED)


def outlive_terminal() -> None:
    """Has this process, and what it starts, live on when its terminal is closed: SIGHUP ends nothing."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def run_service(
    name: str,
    settings: Settings,
    serve: Callable[[asyncio.Event], Awaitable[None]],
    *,
    announce: Callable[[int], None] | None = None,
    any_port: bool = False,
    log_level: int = logging.INFO,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> int:
    """Runs a service until SIGTERM or SIGINT, and answers with its exit code.

    `beside` runs along with it until its end. With `announce` the process serves its metrics itself, at `settings.metrics_port`, and tells the port; with
    `any_port` that is a free one where the other is taken. A second signal cancels what the first one has not stopped.
    """
    outlive_terminal()
    log.configure(name, level=log_level)
    descriptors.raise_limit()
    gc.freeze()  # code stays until the end
    gc.set_threshold(GARBAGE_OBJECTS, *GARBAGE_GENERATIONS)
    try:
        uvloop.run(_run(settings, serve, announce, any_port, beside))
    except SettingsError as error:
        log.say(f"tokn {name}: {error}")
        return EXIT_CONFIGURATION
    except asyncio.CancelledError:
        return EXIT_FAILED
    except Exception:
        _logger.exception("the service failed")
        return EXIT_FAILED
    return EXIT_OK


async def _run(
    settings: Settings,
    serve: Callable[[asyncio.Event], Awaitable[None]],
    announce: Callable[[int], None] | None,
    any_port: bool,
    beside: Callable[[], Coroutine[Any, Any, None]] | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(serve(stop))

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    async with contextlib.AsyncExitStack() as stack:
        if announce is not None:
            try:
                metrics = await _serve_metrics(settings, any_port)
            except OSError as error:
                task.cancel()
                raise SettingsError(
                    f"cannot serve metrics on {settings.metrics_host}:{settings.metrics_port}: {error.strerror}"
                ) from None
            stack.push_async_callback(metrics.close)
            announce(metrics.port)
        if beside is not None:
            noted(along := asyncio.create_task(beside(), name="reloads"))
            stack.callback(along.cancel)
        await task


async def _serve_metrics(settings: Settings, any_port: bool) -> "MetricsServer":
    # Late: prometheus-client is not needed by commands that only talk to a ledger.
    from runtime.metrics import serve_metrics  # noqa: PLC0415  commands do not need it

    try:
        return await serve_metrics(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        if not any_port or error.errno != errno.EADDRINUSE:
            raise
    return await serve_metrics(settings.metrics_host, 0)
