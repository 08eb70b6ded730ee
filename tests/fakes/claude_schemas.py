"""Owns the subset of JSON Schema that Claude's answers and strict tools may have: anything else is a 400."""

import re
from typing import Any

KEYWORDS = {
    "type",
    "title",
    "description",
    "default",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "anyOf",
    "allOf",
    "$ref",
    "$defs",
    "definitions",
    "enum",
    "const",
    "format",
    "pattern",
    "minItems",
}
FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}


class SubsetError(Exception):
    """What the API would say of a schema."""


def check_subset(root: Any) -> None:
    """Raises SubsetError for a schema outside the subset, or one that refers to itself."""
    _check(root, root, ())


def _need(condition: object, message: str) -> None:
    if not condition:
        raise SubsetError(message)


def _check(schema: Any, root: Any, inside: tuple[str, ...]) -> None:
    if not isinstance(schema, dict):
        return
    for key in schema:
        _need(key in KEYWORDS, f"unsupported keyword {key}")
    if schema.get("type") == "object" or "properties" in schema:
        _need(schema.get("additionalProperties") is False, "'additionalProperties' must be set to false")
    else:
        _need("additionalProperties" not in schema, "additionalProperties without an object")
    _need(schema.get("format", "uuid") in FORMATS, "unsupported format")
    _need(schema.get("minItems", 0) in (0, 1), "minItems must be 0 or 1")
    _need(not re.search(r"\(\?[=!<P]|\\[bB1-9]", schema.get("pattern", "")), "unsupported pattern")
    for value in [*schema.get("enum", []), schema.get("const")]:
        _need(not isinstance(value, dict | list), "enum of complex values")
    for name in ("anyOf", "allOf"):
        for item in schema.get(name, ()):
            _need(name != "allOf" or "$ref" not in item, "allOf with $ref")
            _check(item, root, inside)
    for name in ("properties", "$defs", "definitions"):
        for inner in schema.get(name, {}).values():
            _check(inner, root, inside)
    _check(schema.get("items"), root, inside)
    reference = schema.get("$ref")
    if reference is not None:
        _need(reference not in inside, "recursive schema")
        _need(re.match(r"#/(\$defs|definitions)/", reference), "external $ref")
        target = root
        for step in reference[2:].split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        _check(target, root, (*inside, reference))
