"""Owns how a raw value of a body becomes a typed one, and what is said of one that cannot: with its place in the body."""

import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

import msgspec
from msgspec import Raw

from schemas.chat.priced import RequestError
from schemas.errors import invalid, unsupported_value

_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([^`]+)`")
Value = TypeVar("Value")


def take(decode: Callable[[Raw | bytes], Value], raw: Raw | bytes, place: str) -> Value:
    """A raw value, decoded. Raises RequestError 400 that names where in the body it went wrong; `place` is the value's."""
    try:
        return decode(raw)
    except UnicodeDecodeError:
        raise RequestError(invalid("The request body must be UTF-8.")) from None
    except RecursionError:
        raise RequestError(invalid("The request body is nested too deeply.", param=place or None)) from None
    except msgspec.MsgspecError as fault:
        _unreadable(str(fault), place)


def _unreadable(text: str, place: str) -> NoReturn:
    found = _PATH.search(text)
    reason = text[: found.start()] if found else text
    path = joined(place, found[1] if found else "")
    if missing := _MISSING.search(reason):
        refuse_missing(joined(path, missing[1]))
    if not path:
        raise RequestError(invalid(f"The JSON body of your request cannot be used: {reason[:200]}"))
    code = "invalid_type" if reason.startswith("Expected") else "invalid_value"
    raise RequestError(invalid(f"Invalid '{path}': {reason[:200]}.", param=path, code=code))


def joined(place: str, inner: str) -> str:
    """The path of what stands at `inner` within a place."""
    if not place or not inner:
        return place or inner
    return f"{place}{inner}" if inner.startswith("[") else f"{place}.{inner}"


def refuse_missing(param: str) -> NoReturn:
    """Raises RequestError 400."""
    message = f"Missing required parameter: '{param}'."
    raise RequestError(invalid(message, param=param, code="missing_required_parameter"))


def refuse_value(param: str, why: str) -> NoReturn:
    """Raises RequestError 400 for a value that is none of those that there are."""
    raise RequestError(invalid(f"Invalid '{param}'. {why}", param=param, code="invalid_value"))


def refuse_unsupported(param: str, why: str) -> NoReturn:
    """Raises RequestError 400 for a value that OpenAI knows and this gateway does not serve."""
    raise RequestError(unsupported_value(param, why))


def absent(raw: Raw) -> bool:
    """Whether a raw value was left out or is null."""
    return bytes(raw) in (b"", b"null")
