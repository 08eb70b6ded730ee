"""Owns values that fit a JSON Schema: what the sandbox fills forms, and the arguments of tools, with.

The value is the plainest that fits: the first of several, the least of a range, no more items than are needed. It
never fails: where a schema asks for what no rule here knows, the value is of its type, and may not fit.
"""

import math
import re
from collections.abc import Iterable
from re import _constants, _parser  # type: ignore[attr-defined]  # the standard library's own, without stubs
from typing import Any, TypeGuard

DEPTH_MAX = 32  # of a value; a schema that holds itself ends there
ITEMS_MAX = 64  # of an array or the properties of an object
VALUES_MAX = 1_000  # in one value, at every depth together
TEXT_CHARS_MAX = 4_096
TEXT = "sandbox"
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "sandbox@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/sandbox",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_ANYTHING: dict[str, Any] = {}


def sample(schema: Any) -> Any:
    """A value for a schema. What is no schema is one that takes anything."""
    return _Sampler(schema if isinstance(schema, dict) else _ANYTHING).value()


class _Sampler:
    """Makes one value. `_left` is how many more values may stand in it."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._left = VALUES_MAX

    def value(self) -> Any:
        return self._value(self._root, 0)

    def _value(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        schema = self._merged(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(listed := schema.get("enum"), list) and listed:
            return listed[0]
        kind = schema.get("type") or _implied(schema)
        if isinstance(kind, list):
            # What is optional may be null: a form that is filled in shows more.
            kind = next((one for one in kind if one != "null"), "null")
        over = depth >= DEPTH_MAX or self._left <= 0
        match kind:
            case "object":
                return {} if over else self._object(schema, depth)
            case "array":
                return [] if over else self._array(schema, depth)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return _text(schema)

    def _merged(self, schema: Any) -> dict[str, Any]:
        """A schema with what it refers to, all that it demands together, and the first of its choices."""
        merged = dict(schema) if isinstance(schema, dict) else {}
        for _ in range(DEPTH_MAX):
            reference = merged.pop("$ref", None)
            parts = merged.pop("allOf", None)
            choices = merged.pop("anyOf", None) or merged.pop("oneOf", None)
            found: list[Any] = [self._resolve(reference)] if isinstance(reference, str) else []
            found += parts[:ITEMS_MAX] if isinstance(parts, list) else []
            if isinstance(choices, list) and choices:
                found.append(next((one for one in choices if not _is_null(one)), choices[0]))
            if not found:
                break
            for part in found:
                self._left -= 1
                if isinstance(part, dict) and self._left > 0:
                    merged = _both(merged, part)
        return merged

    def _resolve(self, reference: str) -> Any:
        found: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        known = schema.get("properties")
        properties = known if isinstance(known, dict) else {}
        required = [name for name in _listed(schema.get("required")) if isinstance(name, str)]
        # In a deep value only what must be there: a type that may hold itself need not.
        names = required if depth > 2 else list(dict.fromkeys((*properties, *required)))
        rest = schema.get("additionalProperties")
        other = rest if isinstance(rest, dict) else _ANYTHING
        return {name: self._value(properties.get(name, other), depth + 1) for name in names[:ITEMS_MAX]}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        places = _listed(schema.get("prefixItems"))[:ITEMS_MAX]
        items = [self._value(place, depth + 1) for place in places]
        most = min(max(_whole(schema.get("maxItems"), ITEMS_MAX), 0), ITEMS_MAX)
        wanted = max(_whole(schema.get("minItems"), 0), 1 if depth < 2 and not places else 0)
        inner = schema.get("items", _ANYTHING)
        while len(items) < min(wanted, most) and self._left > 0:
            items.append(_distinct(self._value(inner, depth + 1), items, schema))
        return items[:most]


def _both(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    both = {**second, **first}
    for key in ("properties", "required"):
        one, other = first.get(key), second.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            both[key] = {**other, **one}
        elif isinstance(one, list) and isinstance(other, list):
            both[key] = [*one[:ITEMS_MAX], *other[:ITEMS_MAX]]
    return both


def _is_null(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"


def _implied(schema: dict[str, Any]) -> str:
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _distinct(value: Any, others: list[Any], schema: dict[str, Any]) -> Any:
    """The value, or another of its kind where all items must differ."""
    if schema.get("uniqueItems") is not True or value not in others:
        return value
    inner = schema.get("items")
    listed = _listed(inner.get("enum")) if isinstance(inner, dict) else []
    fresh = [one for one in listed if one not in others]
    if fresh:
        return fresh[0]
    if isinstance(value, bool):
        return not value
    return value + len(others) if isinstance(value, int | float) else f"{value}{len(others)}"


def _whole(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _number(schema: dict[str, Any], *, whole: bool) -> int | float:
    """The least positive number that fits, else the nearest one to zero that is found to."""
    step = schema.get("multipleOf")
    unit = step if _is_number(step) and step > 0 else 1 if whole else 0.5
    floors = [one for one in (schema.get("minimum"), schema.get("exclusiveMinimum")) if _is_number(one)]
    ceilings = [one for one in (schema.get("maximum"), schema.get("exclusiveMaximum")) if _is_number(one)]
    tried: list[int | float] = [unit]
    try:
        tried += [(math.ceil(floor / unit) + more) * unit for floor in floors for more in (0, 1)]
        tried += [(math.floor(ceiling / unit) - less) * unit for ceiling in ceilings for less in (0, 1)]
    except (OverflowError, ValueError):
        pass  # beyond what floats can hold: it may not fit
    if not whole and floors and ceilings:
        tried.append((max(floors) + min(ceilings)) / 2)
    number = next((one for one in tried if _fits(one, schema)), unit)
    return int(number) if whole else number


def _fits(number: float, schema: dict[str, Any]) -> bool:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    return not (
        (_is_number(low) and number < low)
        or (_is_number(above) and number <= above)
        or (_is_number(high) and number > high)
        or (_is_number(below) and number >= below)
    )


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(schema: dict[str, Any]) -> str:
    if isinstance(pattern := schema.get("pattern"), str):
        return _matching(pattern) or TEXT
    if (known := _FORMATS.get(str(schema.get("format")))) is not None:
        return known
    least = min(_whole(schema.get("minLength"), 0), TEXT_CHARS_MAX)
    most = min(_whole(schema.get("maxLength"), TEXT_CHARS_MAX), TEXT_CHARS_MAX)
    text = TEXT
    while len(text) < least:
        text += f" {TEXT}"
    return text[: max(least, min(len(text), most))]


# What a regular expression matches, as far as its parts say so plainly. It is never run: one that a caller wrote may
# take for ever.


def _matching(pattern: str) -> str:
    """A text that a pattern matches; "" where it has parts that no rule here knows."""
    if len(pattern) > TEXT_CHARS_MAX:
        return ""
    try:
        return _spell(_parser.parse(pattern))
    except (re.error, RecursionError, OverflowError, ValueError):
        return ""


def _spell(parts: Iterable[Any]) -> str:
    """Raises ValueError for what is unknown, or too long."""
    text = "".join(_spell_part(operator, argument) for operator, argument in parts)
    if len(text) > TEXT_CHARS_MAX:
        raise ValueError("too long")
    return text


def _spell_part(operator: Any, argument: Any) -> str:
    if operator is _constants.LITERAL:
        return chr(argument)
    if operator is _constants.ANY:
        return "a"
    if operator is _constants.IN:
        return _one_of(argument)
    if operator in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
        least, most, inner = argument
        text, count = _spell(inner), int(max(least, 1 if most else 0))
        if len(text) * count > TEXT_CHARS_MAX:
            raise ValueError("too long")
        return text * count
    if operator in (_constants.SUBPATTERN, _constants.BRANCH):
        return _spell(argument[-1] if operator is _constants.SUBPATTERN else argument[1][0])
    if operator is _constants.AT and argument in (_constants.AT_BEGINNING, _constants.AT_END):
        return ""
    raise ValueError("unknown")


_CATEGORIES = {
    _constants.CATEGORY_DIGIT: "1",
    _constants.CATEGORY_SPACE: " ",
    _constants.CATEGORY_WORD: "a",
    _constants.CATEGORY_NOT_DIGIT: "a",
    _constants.CATEGORY_NOT_SPACE: "a",
    _constants.CATEGORY_NOT_WORD: "-",
}
_OTHERS = "a1-_ ~"  # what a set of characters may leave out, for one that must be none of it


def _one_of(members: list[Any]) -> str:
    operator, argument = members[0]
    if operator is _constants.NEGATE:
        free = [letter for letter in _OTHERS if not any(_has(member, letter) for member in members[1:])]
        if not free:
            raise ValueError("unknown")
        return free[0]
    if operator is _constants.RANGE:
        return chr(int(argument[0]))
    if operator is _constants.CATEGORY:
        return str(_CATEGORIES[argument])
    return chr(int(argument))


def _has(member: Any, letter: str) -> bool:
    operator, argument = member
    if operator is _constants.LITERAL:
        return bool(ord(letter) == argument)
    if operator is _constants.RANGE:
        return bool(argument[0] <= ord(letter) <= argument[1])
    name = str(argument)  # a category: CATEGORY_DIGIT, CATEGORY_NOT_WORD …
    known = (
        letter.isdigit()
        if "DIGIT" in name
        else letter.isspace()
        if "SPACE" in name
        else letter.isalnum() or letter == "_"
    )
    return known != ("_NOT_" in name)
