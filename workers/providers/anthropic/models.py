"""Owns how an Anthropic account's models are listed: GET /v1/models, page after page."""

from datetime import date
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from workers.providers.listing import Listed, ListError, count_of, day_of, gathered, page_of
from workers.upstream.request import UpstreamRequest

PAGE_MODELS: Final = 1_000  # the most that one page may have


class _Entry(Struct):
    id: str
    lifecycle: Any = None  # servers of an older version say nothing
    retires_at: Any = None
    max_tokens: Any = None


class _Page(Struct):
    data: list[_Entry]
    has_more: bool = False
    last_id: str | None = None


_decode: Final = msgspec.json.Decoder(_Page).decode


class AnthropicReading:
    """One reading. The lifecycle tells what is retired: a date that has passed on a model that is not is only overdue."""

    def __init__(self, base: str, headers: dict[str, str], today: date) -> None:
        self.models: dict[str, Listed] = {}
        self._base = base
        self._headers = headers
        self._today = today
        self._after: str | None = ""

    def request(self) -> UpstreamRequest | None:
        """The next page."""
        if self._after is None:
            return None
        after = f"&after_id={quote(self._after, safe='')}" if self._after else ""
        url = f"{self._base}/v1/models?limit={PAGE_MODELS}{after}"
        return UpstreamRequest("GET", url, self._headers, b"")

    def take(self, body: bytes) -> None:
        """One page. Raises ListError."""
        page = page_of(_decode, body)
        gathered(self.models, map(self._listed, page.data))
        last = page.last_id or (page.data[-1].id if page.data else "")
        if page.has_more and not last:
            raise ListError("more pages, and no way to ask for them")
        self._after = last if page.has_more else None

    def _listed(self, entry: _Entry) -> Listed:
        retired = entry.lifecycle == "retired"
        shutdown = day_of(entry.retires_at)
        overdue = not retired and shutdown is not None and shutdown <= self._today
        return Listed(
            id=entry.id,
            retired=retired,
            deprecated=entry.lifecycle == "deprecated",
            shutdown=None if overdue else shutdown,
            max_output=count_of(entry.max_tokens),
        )
