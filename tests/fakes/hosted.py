"""Owns the thread that a fake provider serves from, so that tests of every kind, and other processes, can call it."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Self

from aiohttp import web

from tests.fakes.lists import Refused

REQUEST_BYTES_MAX = 64 * 1024 * 1024
START_TIMEOUT_S = STOP_TIMEOUT_S = 10.0
BACKLOG = 1024


def answered(page: Callable[[], Any]) -> web.Response:
    """A page of a list of models, or why there is none."""
    try:
        return web.json_response(page())
    except Refused as refused:
        return web.json_response(refused.body, status=refused.status)


class Hosted:
    """A server on a free port of 127.0.0.1; use as a context manager. `base_url` goes into a pool's account."""

    path: ClassVar[str] = ""  # of `base_url`

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(START_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_TIMEOUT_S)

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def routes(self) -> list[web.AbstractRouteDef]:
        """What it answers."""
        raise NotImplementedError

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=REQUEST_BYTES_MAX)
        app.add_routes(self.routes())
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG)
        self._loop.run_until_complete(site.start())
        self.port = int(runner.addresses[0][1])
        self._up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()
