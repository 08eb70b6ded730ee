"""Owns JSON Schemas on their way to Gemini: the few keywords that it reads in another way than others do."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.json import UNREADABLE

# Without any of these a schema goes as its caller wrote it, byte for byte.
_SIGNS: Final = (b'"$ref"', b'"const"', b'"allOf"', b"\\u")
_MAPS: Final = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_INNER: Final = (
    "items",
    "additionalProperties",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "unevaluatedProperties",
)
_DEPTH_MAX: Final = 100  # of schemas in one another: a deeper one goes as it is
_encode = msgspec.json.Encoder().encode


def suited(schema: Raw) -> Raw:
    """A schema that means the same in Gemini's subset; the same bytes where it need not change.

    A reference stands alone there: what is said beside one moves out of its way. A constant is a choice of one, and
    an `allOf` of one schema a choice of it; one of several objects without references is a single object.
    """
    raw = bytes(schema)
    if not any(sign in raw for sign in _SIGNS):
        return schema
    try:
        decoded = msgspec.json.decode(raw)
        made = _suited(decoded, 0)
    except UNREADABLE:
        return schema
    return schema if made == decoded else Raw(_encode(made))


def _suited(schema: Any, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEPTH_MAX:
        return schema
    made = {key: _inner(key, value, depth + 1) for key, value in schema.items()}
    if "enum" not in made and type(made.get("const")) in (str, int, float):
        made["enum"] = [made.pop("const")]
    if isinstance(parts := made.get("allOf"), list) and parts:
        made = _joined(made, parts)
    if "$ref" in made and any(not key.startswith("$") for key in made):
        made = _beside(made, {"$ref": made.pop("$ref")})
    return made


def _inner(key: str, value: Any, depth: int) -> Any:
    if key in _MAPS and isinstance(value, Mapping):
        return {name: _suited(one, depth) for name, one in value.items()}
    if key in _LISTS and isinstance(value, list):
        return [_suited(one, depth) for one in value]
    return _suited(value, depth) if key in _INNER else value


def _beside(schema: dict[str, Any], only: Any) -> dict[str, Any]:
    """A schema and another one that it is as well: as a choice of that alone, if it has no choice of its own yet."""
    return schema | ({"anyOf": [only]} if "anyOf" not in schema else {"allOf": [only]})


def _joined(schema: dict[str, Any], parts: list[Any]) -> dict[str, Any]:
    rest = {key: value for key, value in schema.items() if key != "allOf"}
    if len(parts) == 1:
        return _beside(rest, parts[0])
    if not all(_is_plain(part) for part in (*parts, rest)):
        return schema
    made: dict[str, Any] = {}
    for part in (*parts, rest):
        for key, value in part.items():
            before = made.get(key)
            if key == "properties" and isinstance(before, Mapping):
                if before.keys() & value.keys():
                    return schema  # both hold for it
                made[key] = {**before, **value}
            elif key == "required" and isinstance(before, list):
                made[key] = [*before, *(name for name in value if name not in before)]
            elif before is not None and before != value and key not in ("description", "title"):
                return schema
            else:
                made[key] = value
    return made


def _is_plain(part: Any) -> bool:
    """Whether a schema lists properties, and nothing that another one could contradict without a word."""
    return isinstance(part, Mapping) and part.keys() <= {
        "type",
        "properties",
        "required",
        "description",
        "title",
        "$defs",
        "definitions",
        "$schema",
    }
