"""Owns taking a request in: the key, and a body within its bounds and those of all callers together."""

from collections.abc import Awaitable, Callable

from edge.budget import Budget
from edge.http.exchange import Exchange
from edge.http.heads import API_KEY, AUTHORIZATION, key_in
from edge.limits import Limits
from schemas import keys
from schemas.chat.priced import RequestError
from schemas.errors import WireError, invalid, missing_key, too_large, unavailable

KEY_HEADERS = (AUTHORIZATION, API_KEY)  # of routes that are no dialect's


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


async def read_body(
    exchange: Exchange, limits: Limits, budget: Budget, verify: Callable[[], Awaitable[object]]
) -> bytes:
    """The whole body. Its bytes are taken from `budget`: the caller of this gives them back.

    `verify` is awaited before more than `early_bytes` of it are read, before it is refused for its size, and if it is
    slow: then there is an empty piece. Raises RequestError and CallerGoneError; then nothing stays taken.
    """
    declared = _content_length(exchange)
    verified = declared is not None and declared > limits.early_bytes
    if declared is not None and verified:
        await verify()
        exchange.connection.known()
        if declared > limits.body_bytes:
            raise RequestError(too_large(limits.body_bytes))
    pieces: list[bytes] = []
    size = 0
    more = True
    try:
        while more:
            piece, more = await exchange.receive()
            _take(budget, piece)
            size += len(piece)
            pieces.append(piece)
            if not verified and (size > limits.early_bytes or (more and not piece)):
                await verify()
                exchange.connection.known()
                verified = True
            _check_size(size, limits.body_bytes)
    except BaseException:
        budget.give_back(size)
        raise
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _take(budget: Budget, piece: bytes) -> None:
    if not budget.take(len(piece)):
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
