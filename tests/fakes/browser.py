"""Owns a page of another origin in a real headless Chromium: what it is to call, what it could read, what was sent for it."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes import node
from tests.fakes.hosted import Hosted
from tests.fakes.tokn import ROOT, environment

SOURCE = ROOT / "tests" / "system" / "browser"
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
VISIT_S = 90.0
END_S = 20.0
HTML = '<!doctype html><title>page</title><script type="module" src="/page.mjs"></script>'
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # which root and most containers cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SENT = '"line":"'  # in the network log, beside the head of a request


def chromium() -> str:
    """The browser: TOKN_TEST_CHROMIUM, or one on the path. Raises FileNotFoundError."""
    named = os.environ.get("TOKN_TEST_CHROMIUM")  # noqa: TID251  which browser is the machine's affair
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise FileNotFoundError(f"no {' or '.join(NAMES)} on the path, and no TOKN_TEST_CHROMIUM")
    return found


class Page(Hosted):
    """A page's own server. `host` may be another name of this machine, which makes another origin."""

    def __init__(self, steps: list[dict[str, Any]], host: str = "127.0.0.1") -> None:
        super().__init__()
        node.install_locked(node.SOURCE, node.FOLDER)
        self.steps = steps
        self._host = host
        self._said: dict[str, Any] = {}
        self._done = threading.Event()

    @property
    def origin(self) -> str:
        """As a browser sends it."""
        return f"http://{self._host}:{self.port}"

    def routes(self) -> list[web.AbstractRouteDef]:
        """The page, its script, the SDK, its work, and where it sends what it read."""
        return [
            web.get("/", self._page),
            web.static("/openai", node.FOLDER / "node_modules" / "openai"),
            web.get("/page.mjs", self._script),
            web.get("/steps", self._work),
            web.post("/said", self._hear),
        ]

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=HTML, content_type="text/html")

    async def _script(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(SOURCE / "page.mjs")

    async def _work(self, _: web.Request) -> web.Response:
        return web.json_response(self.steps)

    async def _hear(self, request: web.Request) -> web.Response:
        self._said = await request.json()
        self._done.set()
        return web.Response()

    def visit(self, folder: Path) -> tuple[dict[str, Any], list[tuple[str, str, list[str]]]]:
        """Opens the page in an empty profile: what it read, by step, and (method, path, header lines) of all it sent."""
        log = folder / "net.json"
        own = (f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}")
        with (folder / "chromium.log").open("wb") as words:
            process = subprocess.Popen(
                [chromium(), *OPTIONS, *own, f"{self.origin}/"],
                env=environment(HOME=str(folder)),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
            )
        try:
            heard = self._done.wait(VISIT_S)
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_S)
        assert heard, (folder / "chromium.log").read_text(errors="replace")[-4_000:]
        return self._said, _sent(log)


def _sent(log: Path) -> list[tuple[str, str, list[str]]]:
    """Method, path and header lines of each request in a network log, whose events are a line each."""
    with log.open(errors="replace") as lines:
        events = [json.loads(line.rstrip(",\n")).get("params", {}) for line in lines if SENT in line]
    heads = [event for event in events if "headers" in event]
    return [(*head["line"].split()[:2], head["headers"]) for head in heads]
