"""Owns what Claude's models need to answer in JSON, wherever they are served: an instruction, and schemas in their subset."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

JSON_INSTRUCTION: Final = (
    "Answer with one JSON object and nothing else: no words and no code fence around it."
)

# What a schema for answers may say, beside the keywords below that are looked into. Others are told in words.
_KEPT: Final = frozenset(("type", "title", "description", "default", "required", "$ref"))
_SCHEMAS: Final = ("properties", "$defs", "definitions")  # maps of names to schemas
_DEFINED: Final = ("$defs", "definitions")
_DROPPED: Final = frozenset(("$schema", "$id", "$comment", "$anchor", "additionalProperties"))
_FORMATS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
# Looking around or back, and edges of words: no grammar can follow these.
_HARD_PATTERN: Final = re.compile(r"\(\?(?!:)|\\[bBkpP1-9]")
_DEPTH_MAX: Final = 100  # of schemas in one another

_encode = msgspec.json.Encoder().encode
Json = dict[str, Any]


class OpenSchemaError(Exception):
    """A schema that no closed one can stand for: it refers to itself or outwards, or has properties of any name."""


def instruction(schema: bytes) -> str:
    """The instruction to answer in JSON by a schema that is told in words alone."""
    return f"{JSON_INSTRUCTION} It must be valid by this JSON schema: {schema.decode()}"


def closed(schema: Any) -> Any:
    """A schema in the subset that answers may have: objects are closed, and what it has no keyword for is described.

    Raises OpenSchemaError where words alone can tell it.
    """
    if not isinstance(schema, Mapping):
        return schema
    return _Closing(schema).closed(schema, ())


class _Closing:
    """One schema on its way into the subset. `inside` names the references that lead to where it is."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._walked: set[str] = set()  # references that lead nowhere wrong

    def closed(self, schema: Any, inside: tuple[str, ...]) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        if len(inside) > _DEPTH_MAX:
            raise OpenSchemaError
        schema = self._merged(schema, set())
        if "$ref" in schema:  # beside it nothing else is read but what others refer to
            schema = {key: value for key, value in schema.items() if key == "$ref" or key in _DEFINED}
        answer: Json = {}
        told: list[str] = []
        for key, value in schema.items():
            if not self._take(answer, key, value, inside):
                told.append(f"{key}: {_encode(value).decode()}")
        if _has_any_names(schema):
            raise OpenSchemaError
        if answer.get("type") == "object" or "properties" in answer:
            answer["additionalProperties"] = False
        if told:
            before = f"{answer['description']} " if isinstance(answer.get("description"), str) else ""
            answer["description"] = f"{before}({', '.join(told)})"
        return answer

    def _take(self, answer: Json, key: str, value: Any, inside: tuple[str, ...]) -> bool:
        """Takes one keyword over. False if it must be told in words, or what it still means has to be."""
        inner = (*inside, "")
        if key == "$ref":
            self._follow(value, inside)
        if key in _KEPT:
            answer[key] = value
        elif key in _SCHEMAS and isinstance(value, Mapping):
            answer[key] = {name: self.closed(schema, inner) for name, schema in value.items()}
        elif key == "items" and isinstance(value, Mapping | bool):
            answer[key] = self.closed(value, inner)
        elif key in ("anyOf", "oneOf") and isinstance(value, list) and "anyOf" not in answer:
            answer["anyOf"] = [self.closed(schema, inner) for schema in value]
        elif key == "allOf" and isinstance(value, list):
            answer[key] = [self.closed(schema, inner) for schema in value]
        elif key in ("enum", "const"):
            return _take_values(answer, key, value)
        elif (key == "format" and value in _FORMATS) or (key == "pattern" and _is_easy(value)):
            answer[key] = value
        elif key == "minItems" and isinstance(value, int):
            answer[key] = min(value, 1)
            return value <= 1
        else:
            return key in _DROPPED
        return True

    def _merged(self, schema: Mapping[str, Any], seen: set[str]) -> Mapping[str, Any]:
        """A schema without `allOf`, where that lists objects or one thing: closed objects would exclude one another.

        `seen` holds the references that it has in it by now: each says the same the second time.
        """
        parts = schema.get("allOf")
        if not isinstance(parts, list) or not parts:
            return schema
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        resolved = [part for one in parts if (part := self._resolved(one, seen)) is not None]
        if not all(isinstance(part, Mapping) for part in resolved):
            return schema
        if len(resolved) > 1 and not all(_is_object(part) for part in resolved):
            return {**rest, "allOf": resolved}
        merged: Json = {}
        for part in (*resolved, rest):
            _add(merged, part)
        return self._merged(merged, seen)

    def _resolved(self, part: Any, seen: set[str]) -> Any:
        """What a reference stands for, None if it was seen; anything else is itself."""
        while isinstance(part, Mapping) and isinstance(reference := part.get("$ref"), str):
            if reference in seen:
                return None
            seen.add(reference)
            part = self._target(reference)
        return part

    def _follow(self, reference: Any, inside: tuple[str, ...]) -> None:
        """Walks what a reference leads to. Raises OpenSchemaError if that leads back to it, or is not here."""
        if not isinstance(reference, str) or reference in inside:
            raise OpenSchemaError
        if reference not in self._walked:
            self.closed(self._target(reference), (*inside, reference))
            self._walked.add(reference)

    def _target(self, reference: str) -> Any:
        if reference.partition("/")[0] != "#" or not reference.startswith(("#/$defs/", "#/definitions/")):
            raise OpenSchemaError
        found: Any = self._root
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise OpenSchemaError
            found = found[name]
        return found


def _add(merged: Json, part: Mapping[str, Any]) -> None:
    """One more part of an `allOf`: properties and demands add up, of other keywords the last counts."""
    for key, value in part.items():
        before = merged.get(key)
        if key in _SCHEMAS and isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = {**before, **value}
        elif key in ("required", "allOf") and isinstance(before, list) and isinstance(value, list):
            merged[key] = [*before, *(one for one in value if one not in before)]
        else:
            merged[key] = value


def _take_values(answer: Json, key: str, value: Any) -> bool:
    """Values that are no objects or lists: a choice among those is told in words."""
    values = value if key == "enum" else [value]
    if not isinstance(values, list) or any(isinstance(one, Mapping | list) for one in values):
        return False
    answer[key] = value
    return True


def _is_easy(pattern: Any) -> bool:
    return isinstance(pattern, str) and not _HARD_PATTERN.search(pattern)


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" or "properties" in schema or "allOf" in schema


def _has_any_names(schema: Mapping[str, Any]) -> bool:
    """Whether an object's properties may have names that the schema does not list, and values that it describes."""
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping) or schema.get("patternProperties"):
        return True
    return more is True and not schema.get("properties")
