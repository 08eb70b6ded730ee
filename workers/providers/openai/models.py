"""Owns how an OpenAI account's models are listed, and those of servers that speak its protocol: GET /models."""

from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from workers.providers.listing import Listed, ListError, count_of, day_of, gathered, page_of
from workers.upstream.request import UpstreamRequest


class _Entry(Struct):
    """A model. All but the id is what one vendor or another adds, and costs only itself where it is odd."""

    id: str
    shutdown_date: Any = None  # OpenAI: a day
    deprecation: Any = None  # Mistral: when it was, or will be, deprecated; no word of its end
    active: Any = None  # Groq: False for what is listed and not served
    max_completion_tokens: Any = None  # Groq


class _Page(Struct):
    data: list[_Entry]
    has_more: Any = None
    last_id: Any = None


_decode: Final = msgspec.json.Decoder(_Page | list[_Entry]).decode  # Together sends the bare list


class OpenAIReading:
    """One reading. OpenAI's own list is one page; where a server says that there is more, it is asked for."""

    def __init__(self, base: str, headers: dict[str, str]) -> None:
        self.models: dict[str, Listed] = {}
        self._base = base
        self._headers = headers
        self._query: str | None = ""

    def request(self) -> UpstreamRequest | None:
        """The next page."""
        if self._query is None:
            return None
        return UpstreamRequest("GET", f"{self._base}/models{self._query}", self._headers, b"")

    def take(self, body: bytes) -> None:
        """One page. Raises ListError."""
        page = page_of(_decode, body)
        if isinstance(page, list):
            page = _Page(page)
        gathered(self.models, (_listed(one) for one in page.data if one.active is not False))
        self._query = None
        if page.has_more is True:
            last = page.last_id if isinstance(page.last_id, str) else page.data[-1].id if page.data else ""
            if not last:
                raise ListError("more pages, and no way to ask for them")
            self._query = f"?after={quote(last, safe='')}"


def _listed(entry: _Entry) -> Listed:
    return Listed(
        id=entry.id,
        shutdown=day_of(entry.shutdown_date),
        deprecated=day_of(entry.deprecation) is not None,
        max_output=count_of(entry.max_completion_tokens),
    )
