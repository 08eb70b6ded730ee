"""Owns the public pages as an edge serves them: texts that were compiled ahead, with what is this gateway's own filled in."""

import html
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Final

from msgspec import Struct

from web.assets import Asset, Assets
from web.headers import HTML, PUBLIC_PAGE, Headers

COMPILED: Final = Path(__file__).parent / "compiled"
# Marks, which stand in the compiled texts. None of their characters is escaped anywhere.
ROOT: Final = "https://root-of-this-gateway.invalid"
MODEL: Final = "the-model-of-samples"
LIVE: Final = "models-that-are-live"
RATE: Final = "the-share-of-list"
EXAMPLES: Final = (
    "gpt-4o",
    "gpt-4o-mini",
    "claude-3-5-sonnet-20241022",
    "tokn-sandbox",
)  # the first that can be called
_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9a-fA-F:.]{2,45}\])(?::[0-9]{1,5})?")
_JSON: Final = (b"content-type", b"application/json")
_OPEN: Final[Headers] = ((b"cache-control", b"no-cache"), (b"x-content-type-options", b"nosniff"))


def asset_mark(name: str) -> str:
    """What stands for an asset's address."""
    return f"/static/address-of-{name}"


class Text(Struct, frozen=True):
    """One text in pieces, between which the gateway's address belongs."""

    kind: tuple[bytes, bytes]
    headers: Headers
    pieces: tuple[bytes, ...]

    def at(self, root: str) -> bytes:
        """The text for who reaches the gateway at this address."""
        escaped = html.escape(root) if self.kind == HTML else json.dumps(root)[1:-1]
        return escaped.encode().join(self.pieces)


class Site:
    """All pages and assets of one edge. `public_url` is the address that callers are told, "" for that which they used."""

    def __init__(self, public_url: str, rate: Decimal, fallback: str) -> None:
        self._told = public_url.removesuffix("/v1")
        self._fallback = fallback
        self.assets = Assets()
        percent = f"{(100 * rate).normalize():f}%"
        self.index = self._read("index.html", rate=percent)
        self.docs = self._read("docs.html")
        self.playground = self._read("playground.html")
        self.document = self._read("openapi.json")

    def root(self, host: bytes | None) -> str:
        """The gateway's address, without `/v1`, for a request with this Host."""
        named = (host or b"").decode("latin-1")
        return self._told or (f"http://{named}" if _HOST.fullmatch(named) else self._fallback)

    @property
    def icon(self) -> Asset:
        """The icon, which has a fixed address too."""
        return self.assets.named("favicon.svg")

    def _read(self, name: str, *, rate: str = "") -> Text:
        text = (COMPILED / name).read_text(encoding="utf-8").replace(RATE, rate)
        for asset in self.assets:
            text = text.replace(asset_mark(asset.name), asset.path)
        page = name.endswith(".html")
        pieces = tuple(piece.encode() for piece in text.split(ROOT))
        return Text(HTML if page else _JSON, PUBLIC_PAGE if page else _OPEN, pieces)


def with_models(page: bytes, ids: tuple[str, ...]) -> bytes:
    """The first page for the models that can be called now: their number, and one for its samples."""
    count = f"{len(ids):,} model" + ("" if len(ids) == 1 else "s")
    model = next((name for name in EXAMPLES if name in ids), ids[0] if ids else EXAMPLES[0])
    return page.replace(LIVE.encode(), count.encode()).replace(MODEL.encode(), html.escape(model).encode())
