"""Owns which JSON Schemas are strict ones by OpenAI's rules: closed objects, all of whose properties are required."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.json import UNREADABLE

_OBJECT: Final = "object"
_CLOSED: Final = "additionalProperties"
_INNER: Final = ("items",)
_LISTS: Final = ("anyOf",)
_MAPS: Final = ("properties", "$defs", "definitions")
_VALUES: Final = frozenset(
    [
        "$ref",
        "const",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "multipleOf",
        "pattern",
        "required",
        "title",
        "type",
    ]
)
_FORMATS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
)
_DEPTH_MAX: Final = 100  # of schemas in one another
_encode = msgspec.json.Encoder().encode


class _LooseError(Exception):
    """What no strict schema says."""


def strict_schema(raw: Raw) -> Raw | None:
    """A schema as a strict one, its objects closed; None where it says what a strict one cannot.

    Then it is as strong a hint as it can be when it is sent as it is, and not as strict.
    """
    try:
        schema = msgspec.json.decode(raw)
        if not isinstance(schema, Mapping) or schema.get("type") != _OBJECT:
            return None
        return Raw(_encode(_closed(schema, 0)))
    except (_LooseError, *UNREADABLE):
        return None


def _closed(schema: Any, depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or depth > _DEPTH_MAX:
        raise _LooseError
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, Mapping):
            made[key] = {name: _closed(one, depth + 1) for name, one in value.items()}
        elif key in _LISTS and isinstance(value, list):
            made[key] = [_closed(one, depth + 1) for one in value]
        elif key in _INNER:
            made[key] = _closed(value, depth + 1)
        elif key in _VALUES or (key == "format" and value in _FORMATS) or (key == _CLOSED and value is False):
            made[key] = value
        else:
            raise _LooseError
    if schema.get("type") == _OBJECT or "properties" in schema:
        if not set(schema.get("properties", {})) <= set(schema.get("required", ())):
            raise _LooseError  # what may be left out would have to be given
        made[_CLOSED] = False
    return made
