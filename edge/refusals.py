"""Owns what operators are told of refused requests and of calls that failed: a bounded warning each."""

from collections.abc import Mapping

from runtime.bounded import Warnings
from runtime.log import get_logger
from schemas.errors import WireError

WORDS_CHARS_MAX = 300
_QUOTING = (400, 413, 422)  # whose words may quote the request; whoever sent it has been told

_UNTRACED: Mapping[str, str] = {}

_refused = Warnings(get_logger("edge.refusals"), "a request was refused")


def say(
    error: WireError,
    *,
    request_id: str,
    route: str,
    client: str,
    key_id: str = "",
    streamed: bool = False,
    trace: Mapping[str, str] = _UNTRACED,
) -> None:
    """One line about a request that its caller saw end with an error, unless there are too many of that status.

    `client` is the caller's address; `streamed` says that a stream had begun, whose status was 200. `trace` is what
    others call the request.
    """
    _refused.say(
        str(error.status),
        request_id=request_id,
        key_id=key_id,
        client=client,
        route=route,
        status=error.status,
        code=error.code or error.type,
        param=error.param,
        message="" if error.status in _QUOTING else error.message[:WORDS_CHARS_MAX],
        streamed=streamed,
        **trace,
    )
