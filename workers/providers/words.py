"""Owns what an upstream says of a failure in its own words, for operators: its code, its message, its request's id."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from workers.providers.scrub import scrub

CODE_CHARS_MAX: Final = 80
WORDS_CHARS_MAX: Final = 200
_REQUEST_IDS: Final = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-goog-request-id",
    "cf-ray",
)
_CODES: Final = ("code", "type", "status", "__type")
_MESSAGES: Final = ("message", "detail", "error", "msg")


class Words(Struct, frozen=True):
    """An upstream's own words about a failure; empty where it had none. The message is scrubbed."""

    code: str = ""
    message: str = ""
    request_id: str = ""


NOTHING: Final = Words()


def words_of(headers: Mapping[str, str], body: bytes = b"") -> Words:
    """What an answer other than 2xx says, whatever its form."""
    code, message = _words(body)
    return Words(_short(code, CODE_CHARS_MAX), _short(message, WORDS_CHARS_MAX), request_id(headers))


def request_id(headers: Mapping[str, str]) -> str:
    """The id that the upstream gave the request; "" for none."""
    for name in _REQUEST_IDS:
        if found := headers.get(name):
            return scrub(found[:CODE_CHARS_MAX])
    return ""


def _words(body: bytes) -> tuple[str, str]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", body[: 4 * WORDS_CHARS_MAX].decode(errors="replace")
    if isinstance(found, list) and found:  # Google's streams
        found = found[0]
    if not isinstance(found, dict):
        return "", str(found)[:WORDS_CHARS_MAX]
    inner = found.get("error")
    if isinstance(inner, dict):
        found = inner
    return _first(found, _CODES), _first(found, _MESSAGES)


def _first(found: dict[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        value = found.get(name)
        if isinstance(value, str | int) and value != "":
            return str(value)
    return ""


def _short(text: str, chars_max: int) -> str:
    # A word may be cut in the middle only after what must not be seen has gone.
    return " ".join(scrub(text).split())[:chars_max]
