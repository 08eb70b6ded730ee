"""Owns which headers travel: the caller's with a job, a worker's on the answer, and the gateway's word on both."""

import re
import string
from urllib.parse import quote

from edge.http.exchange import Exchange
from schemas.bus import frames
from schemas.chat.priced import RequestError
from schemas.errors import invalid

ANSWER_HEADERS_MAX = 32
IGNORED_BYTES_MAX = 1_024  # of the names of what went no further

_VISIBLE = string.punctuation + " "  # what a name in a header keeps as it is, beside letters and digits
_LISTED = _VISIBLE.replace(",", "")
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
# What says how a message is framed, or is the gateway's own to say.
_OURS = frozenset(
    [
        "allow",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "location",
        "openai-processing-ms",
        "server",
        "set-cookie",
        "set-cookie2",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
        "x-accel-buffering",
        "x-client-request-id",
        "x-request-id",
        "x-tokn-cost-nano",
        "x-tokn-granted-tokens",
        "x-tokn-ignored",
        "x-tokn-model",
        "x-tokn-model-shutdown",
        "x-tokn-model-successor",
    ]
)


def job_headers(exchange: Exchange, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The caller's headers that its dialect names, in the dialect's order. Raises RequestError 400 for too many bytes."""
    found = [(name, exchange.header(name.encode())) for name in names]
    headers = tuple((name, value.decode("latin-1")) for name, value in found if value is not None)
    if sum(len(name) + len(value) for name, value in headers) > frames.HEADERS_BYTES_MAX:
        raise RequestError(invalid(f"These headers are too large together: {', '.join(names)}."))
    return headers


def answer_headers(headers: tuple[tuple[str, str], ...]) -> list[tuple[bytes, bytes]]:
    """A worker's headers for an answer: those that can do no harm, as many as fit, names in lower case."""
    kept: list[tuple[bytes, bytes]] = []
    room = frames.HEADERS_BYTES_MAX
    for name, value in headers:
        lower = name.lower()
        if lower in _OURS or lower.startswith(("proxy-", "access-control-")):
            continue
        room -= len(name) + len(value)
        if room < 0 or len(kept) == ANSWER_HEADERS_MAX:
            break
        if _NAME.fullmatch(lower) and _VALUE.fullmatch(value):
            kept.append((lower.encode(), value.encode()))
    return kept


def model_header(name: str) -> tuple[bytes, bytes]:
    """Which model serves."""
    return b"x-tokn-model", quote(name, safe=_VISIBLE).encode()


def granted_header(tokens: int) -> tuple[bytes, bytes]:
    """How many output tokens the hold grants each choice."""
    return b"x-tokn-granted-tokens", b"%d" % tokens


def cost_header(nano: int) -> tuple[bytes, bytes]:
    """What the call is billed, in nano-dollars."""
    return b"x-tokn-cost-nano", b"%d" % nano


def ignored_header(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """What of a body went no further: each name once, as many as fit."""
    kept: list[str] = []
    room = IGNORED_BYTES_MAX
    for name in dict.fromkeys(names):
        shown = quote(name, safe=_LISTED, errors="replace")
        room -= len(shown) + 1
        if room < 0:
            break
        kept.append(shown)
    return b"x-tokn-ignored", ",".join(kept).encode()
