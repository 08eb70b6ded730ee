"""Owns taking a request in: the key, and a body within its bounds and those of all callers together."""

import asyncio
from typing import Protocol

from edge.budget import Budget
from edge.http.exchange import Exchange
from edge.limits import Limits
from schemas import keys
from schemas.chat.priced import RequestError
from schemas.errors import bad_key, invalid, missing_key, too_large, unavailable
from schemas.shape import SHORT_BYTES, Glance, Shape, TangledError

AUTHORIZATION = b"authorization"
API_KEY = b"x-api-key"  # where Anthropic's clients put it
KEY_HEADERS = (AUTHORIZATION, API_KEY)  # of routes that are no dialect's
TANGLED = "body_too_complex"
_BEARER = b"bearer "
_KEY_BYTES_MAX = 256


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
    if name == AUTHORIZATION:
        if value[:7].lower() != _BEARER:
            raise RequestError(
                bad_key() if value.strip() not in (b"", b"Bearer", b"bearer") else missing_key()
            )
        value = value[7:]
    key = value.strip()
    if not key:
        raise RequestError(missing_key())
    if len(key) > _KEY_BYTES_MAX or not key.isascii() or not keys.is_well_formed(text := key.decode()):
        raise RequestError(bad_key())
    return keys.digest(text)


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
    """Who sends a body, as the ledger knows it."""

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


async def read_body(exchange: Exchange, limits: Limits, budget: Budget, sender: Sender) -> Body:
    """The whole body. Its bytes are taken from `budget`: the caller of this gives them back.

    The sender is verified before more than `early_bytes` of it are read, and before it is refused for its size or for
    what it holds. Raises RequestError and CallerGoneError; then nothing stays taken.
    """
    declared = _content_length(exchange)
    if declared is not None and declared > limits.early_bytes:
        await sender.verify_large()
        if declared > limits.body_bytes:
            raise RequestError(too_large(limits.body_bytes))
    verified = declared is not None
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
            if size > limits.early_bytes and not verified:
                await sender.verify_large()
                verified = True
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
