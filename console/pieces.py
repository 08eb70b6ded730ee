"""Owns answers that are sent piece by piece: at the pace of who reads them, and cut off where they break, never ended."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Final, Self

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from runtime.log import get_logger

CSV: Final = "text/csv; charset=utf-8"
AGAIN_S: Final = 5  # after which who had no place may ask once more
_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]")
_logger = get_logger("console.pieces")


class BusyError(Exception):
    """Somebody has as many exports under way as one may have."""


class Places:
    """How many exports each credential has under way at this console."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[bytes, int] = {}

    @contextlib.contextmanager
    def one(self, credential: bytes) -> Iterator[None]:
        """A place, for as long as an export runs. Raises BusyError."""
        if self._taken.get(credential, 0) >= self._most:
            raise BusyError(
                f"{self._most} exports of this credential are under way: wait until one has ended"
            )
        self._taken[credential] = self._taken.get(credential, 0) + 1
        try:
            yield
        finally:
            self._taken[credential] -= 1
            if not self._taken[credential]:
                del self._taken[credential]


class Pieces(Response):
    """A file whose next piece is made once the one before it is on its way.

    One that breaks has no end in HTTP: its connection is closed before the last chunk, which every client takes for an
    error.
    """

    def __init__(self, first: str, rest: AsyncGenerator[str, None], name: str) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"content-type": CSV, "content-disposition": f'attachment; filename="{name}"'})
        self._first = first
        self._rest = rest

    @classmethod
    async def begun(cls, pieces: AsyncGenerator[str, None], name: str) -> Self:
        """A file from its first piece on. Raises what that raises, while there is no answer yet."""
        return cls(await anext(pieces), pieces, _PLAIN.sub("_", name))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it; stops once nobody reads any more."""
        gone = asyncio.ensure_future(_left(receive))
        async with contextlib.aclosing(self._rest):
            try:
                await send(
                    {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
                )
                if scope["method"] != "HEAD":
                    await send(_body(self._first, more=True))
                    async for piece in self._rest:
                        if gone.done():
                            return
                        await send(_body(piece, more=True))
                await send(_body("", more=False))
            except Exception as error:  # noqa: BLE001  whatever it is, the file is not whole
                _logger.warning("a file was cut off", error=f"{type(error).__name__}: {error}"[:300])
            finally:
                gone.cancel()


async def _left(receive: Receive) -> None:
    """Returns once the other end is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(piece: str, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": piece.encode(), "more_body": more}
