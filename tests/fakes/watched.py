"""Owns a page in a real Chromium that is watched: what it asks for, what it says to its console, what axe finds in it."""

from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, sync_playwright

from tests.fakes.browser import chromium

WAIT_MS = 30_000
WIDE, NARROW = 1_280, 360
OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage"]  # which root and small containers need


class Chromium:
    """One headless browser for the tests of one module. Use as a context manager."""

    def __enter__(self) -> Self:
        self._playwright: Playwright = sync_playwright().start()
        self._browser: Browser = self._playwright.chromium.launch(executable_path=chromium(), args=OPTIONS)
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._playwright.stop()

    def open(self, url: str, *, scheme: str = "light", width: int = WIDE, **more: Any) -> "Watched":
        """A page in a profile of its own. Close it, or use it as a context manager."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
            **more,
        )
        context.set_default_timeout(WAIT_MS)
        return Watched(context.new_page(), url)


class Watched:
    """One page. `told` is what its console has, `asked` the addresses that it asked for."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self.told: list[str] = []
        self.asked: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.told.append(str(error)))
        page.on("request", self._see)
        page.goto(url)

    def _hear(self, message: ConsoleMessage) -> None:
        # Chromium itself logs each answer that is an error: what the page makes of it is on the page.
        if "Failed to load resource" not in message.text:
            self.told.append(f"{message.type}: {message.text}")

    def _see(self, request: Request) -> None:
        self.asked.append(request.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.context.close()

    @property
    def elsewhere(self) -> list[str]:
        """What was asked of any other origin."""
        return [url for url in self.asked if not url.startswith(self.origin + "/")]

    def findings(self) -> list[str]:
        """What axe finds, each as a rule and where."""
        found = Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def picture(self, path: Path) -> None:
        """What is in the window, as a PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path, animations="disabled")
