"""Owns the routes of the public pages: what a browser sees, and the API's document. No key, and no other origin."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from edge.http.connection import BoundedProtocol
from edge.http.exchange import Exchange
from edge.routes.endpoint import Backing, Row, encode
from edge.site.site import Site, Text, with_models
from web.assets import Asset
from web.headers import ASSET, FIXED_ASSET, Headers

NAME: Final = "tokn"
PIECE_BYTES: Final = 16 * 1024
AT_ONCE: Final = 64  # pages on their way: what was asked for by more is 20 MB
SEND_S: Final = 30.0
_VARY: Final = (b"vary", b"accept")


class Sending:
    """Pages that are on their way: so many at once, each for so long.

    Who asks is a stranger, and may never read: the page that is longest on its way gives way to the next. So those who
    read have theirs, and no call is refused for the sake of a page.
    """

    def __init__(self) -> None:
        self._under_way: dict[BoundedProtocol, None] = {}

    async def send(
        self, exchange: Exchange, body: bytes, kind: tuple[bytes, bytes], headers: Headers
    ) -> None:
        """Sends a whole page at the pace of its reader."""
        connection = exchange.connection
        if len(self._under_way) >= AT_ONCE:
            oldest = next(iter(self._under_way))
            del self._under_way[oldest]
            oldest.abort()
        self._under_way[connection] = None
        parts = [body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES)]
        late = asyncio.get_running_loop().call_later(SEND_S, connection.abort)
        try:
            await exchange.answer_in_parts(parts, *headers, kind=kind)
        finally:
            late.cancel()
            self._under_way.pop(connection, None)


_sending: Final = Sending()


def _root(site: Site, exchange: Exchange) -> str:
    return site.root(exchange.header(b"host"))


async def start(site: Site, backing: Backing, exchange: Exchange) -> None:
    """GET /: a page for who takes HTML, and where to begin as JSON for everybody else."""
    root = _root(site, exchange)
    if b"text/html" in (exchange.header(b"accept") or b"").lower():
        listed = await backing.listing.current()
        page = with_models(site.index.at(root), listed.ids)
        await _sending.send(exchange, page, site.index.kind, (*site.index.headers, _VARY))
        return
    told = {"name": NAME, "base_url": f"{root}/v1", "docs": f"{root}/docs"}
    await exchange.answer(200, encode(told), *site.document.headers, _VARY)


async def _text(text: Text, site: Site, backing: Backing, exchange: Exchange) -> None:
    del backing
    await _sending.send(exchange, text.at(_root(site, exchange)), text.kind, text.headers)


async def _asset(asset: Asset, headers: Headers, backing: Backing, exchange: Exchange) -> None:
    del backing
    await _sending.send(exchange, asset.body, (b"content-type", asset.kind), headers)


def rows(site: Site) -> tuple[Row, ...]:
    """All of them; every asset is a route, so that there is no path to look for a file by."""

    def row(path: str, name: str, handler: Callable[[Backing, Exchange], Awaitable[None]]) -> Row:
        return Row(path=path, name=name, handler=handler, listed=False, for_pages=False)

    return (
        row("/", "start", partial(start, site)),
        row("/docs", "docs", partial(_text, site.docs, site)),
        row("/playground", "playground", partial(_text, site.playground, site)),
        row("/openapi.json", "openapi", partial(_text, site.document, site)),
        row("/favicon.svg", "icon", partial(_asset, site.icon, FIXED_ASSET)),
        *(row(asset.path, "static", partial(_asset, asset, ASSET)) for asset in site.assets),
    )
