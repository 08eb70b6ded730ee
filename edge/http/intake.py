"""Owns taking a request in: the key, and a body within its bounds and those of all callers together."""

import asyncio
from typing import Protocol

from edge.budget import Budget
from edge.http.exchange import CallerGoneError, Exchange
from edge.http.heads import API_KEY, AUTHORIZATION, key_in
from edge.limits import Limits
from schemas import keys
from schemas.chat.priced import RequestError
from schemas.errors import WireError, invalid, missing_key, too_large, unavailable
from schemas.shape import SHORT_BYTES, Glance, Shape, TangledError

KEY_HEADERS = (AUTHORIZATION, API_KEY)  # of routes that are no dialect's
TANGLED = "body_too_complex"


def key_digest(exchange: Exchange, names: tuple[bytes, ...] = KEY_HEADERS) -> bytes:
    """The SHA-256 of the caller's key: the first in these headers that has a key's form, bare but in `authorization`.

    A client may send two, one of which is another service's. Raises RequestError 401 for what the first of them says
    if none is well formed.
    """
    first: RequestError | None = None
    for name in names:
        value = exchange.header(name)
        if value is None:
            continue
        try:
            return _digest(name, value)
        except RequestError as refused:
            first = first or refused
    raise first or RequestError(missing_key())


def _digest(name: bytes, value: bytes) -> bytes:
    key = key_in(name, value)
    if isinstance(key, WireError):
        raise RequestError(key)
    return keys.digest(key)


class Counted:
    """Counts what a body holds, at a glance while that will do, and then exactly, all of it, in steps."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces  # to which those to come are added
        self._glanced = self._exact = 0  # pieces
        self._glance, self._shape = Glance(), Shape()
        self._sure = True

    @property
    def values(self) -> int:
        """About how many values there are."""
        return self._glance.values if self._sure else self._shape.values

    async def go_on(self) -> None:
        """Counts the pieces that are new. Raises TangledError."""
        while self._sure and self._glanced < len(self._pieces):
            self._sure = self._glance.feed(self._pieces[self._glanced])
            self._glanced += 1
        while not self._sure and self._exact < len(self._pieces):
            self._shape.feed(self._pieces[self._exact])
            self._exact += 1
            if self._exact < len(self._pieces):
                await asyncio.sleep(0)


class Sender(Protocol):
    """Who sends a body, as the ledger knows it. Once verified, its connection is no stranger's any more."""

    async def verify(self) -> None:
        """Raises RequestError 401 unless the key lives."""

    async def verify_large(self) -> None:
        """The same before a large body is read, and RequestError 402 for a key that can pay for no call."""


class Body:
    """A request's body as its caller sent it. `values` are about those of its arrays and objects, 0 where it is short."""

    __slots__ = ("data", "size", "values")

    def __init__(self, data: bytes, values: int = 0) -> None:
        self.data = data  # whoever has read it empties this: a large one is not kept beside what became of it
        self.size = len(data)
        self.values = values


async def read_body(
    exchange: Exchange, limits: Limits, budget: Budget, sender: Sender, slow: asyncio.Semaphore
) -> Body:
    """The whole body. Its bytes are taken from `budget`: the caller of this gives them back.

    The sender is verified before more than `early_bytes` of it are read, before it is refused for its size or for what
    it holds, and if it is slow: then there is an empty piece. `slow` has room for those that are asked for at once, so
    that slow strangers do not stand before others at the ledger. Raises RequestError and CallerGoneError; then nothing
    stays taken.
    """
    declared = _content_length(exchange)
    known = large = declared is not None and declared > limits.early_bytes
    if declared is not None and large:
        await sender.verify_large()
        if declared > limits.body_bytes:
            raise RequestError(too_large(limits.body_bytes))
    pieces: list[bytes] = []
    counted: Counted | None = None
    size = 0
    more = True
    try:
        while more:
            piece, more = await exchange.receive()
            take(budget, len(piece))
            size += len(piece)
            pieces.append(piece)
            if size > limits.early_bytes and not large:
                await sender.verify_large()
                known = large = True
            elif not known and more and not piece:
                await _verify_slow(exchange, sender, slow)
                known = True
            _check_size(size, limits.body_bytes)
            if size > SHORT_BYTES:
                counted = counted or Counted(pieces)
                await counted.go_on()
    except TangledError as refused:
        budget.give_back(size)
        await sender.verify()
        raise RequestError(invalid(f"The request body has {refused}.", code=TANGLED)) from None
    except BaseException:
        budget.give_back(size)
        raise
    return Body(pieces[0] if len(pieces) == 1 else b"".join(pieces), counted.values if counted else 0)


async def _verify_slow(exchange: Exchange, sender: Sender, slow: asyncio.Semaphore) -> None:
    if exchange.connection.served:
        await sender.verify()
        return
    await _stand_in_line(exchange, slow)
    try:
        if exchange.connection.gone:
            raise CallerGoneError
        await sender.verify()
    finally:
        slow.release()


async def _stand_in_line(exchange: Exchange, slow: asyncio.Semaphore) -> None:
    """Waits for its turn, and leaves the line with its connection: else those who are gone would stand before others."""
    turn = asyncio.ensure_future(slow.acquire())

    def leave() -> None:
        turn.cancel()

    exchange.connection.on_hangup(leave)
    try:
        await asyncio.wait((turn,))
    except asyncio.CancelledError:
        if not turn.cancel() and not turn.cancelled():
            slow.release()
        raise
    finally:
        exchange.connection.on_hangup(None)
    if turn.cancelled():
        raise CallerGoneError


def take(budget: Budget, count: int) -> None:
    """Takes so many bytes of a body. Raises RequestError 503 where there are none left."""
    if not budget.take(count):
        message = "The gateway has too many request bodies in memory. Retry with backoff."
        raise RequestError(unavailable(message))


def _check_size(size: int, bytes_max: int) -> None:
    if size > bytes_max:
        raise RequestError(too_large(bytes_max))


def _content_length(exchange: Exchange) -> int | None:
    value = exchange.header(b"content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise RequestError(invalid("The content-length header is not a number."))
    return int(value)
