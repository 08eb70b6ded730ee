"""Owns taking a request in: the key, and a body within its bounds and those of all callers together."""

from collections.abc import Awaitable, Callable

from edge.budget import Budget
from edge.http.exchange import Exchange
from edge.limits import Limits
from schemas import keys
from schemas.chat.priced import RequestError
from schemas.errors import bad_key, invalid, missing_key, too_large, unavailable

AUTHORIZATION = b"authorization"
API_KEY = b"x-api-key"  # where Anthropic's clients put it
KEY_HEADERS = (AUTHORIZATION, API_KEY)  # of routes that are no dialect's
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


async def read_body(
    exchange: Exchange, limits: Limits, budget: Budget, verify: Callable[[], Awaitable[object]]
) -> bytes:
    """The whole body. Its bytes are taken from `budget`: the caller of this gives them back.

    `verify` is awaited before more than `early_bytes` of it are read, and before it is refused for its size. Raises
    RequestError and CallerGoneError; then nothing stays taken.
    """
    declared = _content_length(exchange)
    if declared is not None and declared > limits.early_bytes:
        await verify()
        if declared > limits.body_bytes:
            raise RequestError(too_large(limits.body_bytes))
    verified = declared is not None
    pieces: list[bytes] = []
    size = 0
    more = True
    try:
        while more:
            piece, more = await exchange.receive()
            _take(budget, piece)
            size += len(piece)
            pieces.append(piece)
            if size > limits.early_bytes and not verified:
                await verify()
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
