"""Owns how a Gemini account's models are listed: GET models, page after page."""

from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from workers.providers.listing import Listed, count_of, gathered, page_of
from workers.upstream.request import UpstreamRequest

PAGE_MODELS: Final = 1_000  # the most that one page may have
_PREFIX: Final = "models/"
_GENERATES: Final = "generateContent"


class _Entry(Struct, rename="camel"):
    name: str
    output_token_limit: Any = None
    supported_generation_methods: Any = None


class _Page(Struct, rename="camel"):
    models: list[_Entry]
    next_page_token: str | None = None


_decode: Final = msgspec.json.Decoder(_Page).decode


class GeminiReading:
    """One reading. What cannot generate content (embeddings, pictures) is not among its models."""

    def __init__(self, base: str, headers: dict[str, str]) -> None:
        self.models: dict[str, Listed] = {}
        self._base = base
        self._headers = headers
        self._token: str | None = ""

    def request(self) -> UpstreamRequest | None:
        """The next page."""
        if self._token is None:
            return None
        token = f"&pageToken={quote(self._token, safe='')}" if self._token else ""
        url = f"{self._base}/models?pageSize={PAGE_MODELS}{token}"
        return UpstreamRequest("GET", url, self._headers, b"")

    def take(self, body: bytes) -> None:
        """One page. Raises ListError."""
        page = page_of(_decode, body)
        gathered(self.models, (_listed(one) for one in page.models if _generates(one)))
        self._token = page.next_page_token or None


def _generates(entry: _Entry) -> bool:
    methods = entry.supported_generation_methods
    return not isinstance(methods, list) or _GENERATES in methods


def _listed(entry: _Entry) -> Listed:
    return Listed(id=entry.name.removeprefix(_PREFIX), max_output=count_of(entry.output_token_limit))
