"""Owns a real Chromium for tests of pages: what it complains of, whom else it calls, and what a reader could not use."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.fakes.browser import OPTIONS, chromium

TIMEOUT_MS = 15_000  # a busy machine
ARGUMENTS = [option for option in OPTIONS if not option.startswith("--headless")]


class Window:
    """One window. `expected` are statuses that a page may load with: a browser writes an error line for each."""

    def __init__(self, context: BrowserContext, origins: set[str]) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self._origins = origins
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" not in self._origins and parts.scheme != "data":
            self.foreign.append(request.url)

    def findings(self) -> list[str]:
        """What axe finds on the page as it is now, each with where."""
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]

    def overflows(self) -> bool:
        """Whether the page is wider than its window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))

    def picture(self, path: Path) -> None:
        """Takes a picture of the whole page."""
        self.page.screenshot(path=path, full_page=True)


@contextlib.contextmanager
def opened() -> Iterator[Browser]:
    """A Chromium of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def window(browser: Browser, *origins: str, **options: Any) -> Iterator[Window]:
    """A window in a profile of its own, as wide and as dark as `options` say. At its end it has nothing to complain of."""
    context = browser.new_context(**options)
    try:
        made = Window(context, set(origins))
        yield made
        assert made.errors == [], made.errors
        assert made.foreign == []
    finally:
        context.close()
