"""Owns what operators are told of refused requests and of calls that failed: a bounded warning each."""

from edge.http.exchange import Exchange
from runtime.bounded import Warnings
from runtime.log import get_logger
from schemas.errors import WireError

WORDS_CHARS_MAX = 300
_QUOTING = (400, 413, 422)  # whose words may quote the request; whoever sent it has been told

_refused = Warnings(get_logger("edge.refusals"), "a request was refused")


def say(exchange: Exchange, error: WireError, route: str) -> None:
    """One line about a request that its caller saw end with an error, unless there are too many of that status."""
    client = exchange.scope.get("client")
    _refused.say(
        str(error.status),
        request_id=exchange.request_id,
        key_id=exchange.key_id,
        client=client[0] if client else "",
        route=route,
        status=error.status,
        code=error.code or error.type,
        param=error.param,
        message="" if error.status in _QUOTING else error.message[:WORDS_CHARS_MAX],
        streamed=exchange.status == 200,
    )
