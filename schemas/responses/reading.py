"""Owns how a raw value of a body becomes a typed one, and what is said of one that cannot: with its place in the body."""

from collections.abc import Callable
from typing import NoReturn, TypeVar

import msgspec
from msgspec import Raw

from schemas.chat.priced import RequestError
from schemas.chat.refusals import unreadable
from schemas.errors import invalid, unsupported_value

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
        raise RequestError(unreadable(str(fault), place)) from None


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
