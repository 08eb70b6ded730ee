"""Owns the judgement of a request by the schema that its vendor has published, with the additions of `overlay.json`."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs

HERE = Path(__file__).resolve().parent
OPENAI, COMPATIBLE = "openai", "compatible"
Schemas = dict[str, Any]


@functools.cache
def additions() -> list[dict[str, Any]]:
    """What the published schemas lack: each has a `name`, the `vendor`, where it belongs (`at`), and its `source`."""
    found: list[dict[str, Any]] = json.loads((HERE / "overlay.json").read_text())
    return found


@functools.cache
def document(vendor: str) -> dict[str, Any]:
    """A vendor's file: its `source`, the schemas by name, and which of them a request is (`roots`).

    A compatible server takes what OpenAI takes, and additions of its own.
    """
    based = [OPENAI, vendor] if vendor == COMPATIBLE else [vendor]
    made: dict[str, Any] = json.loads((HERE / f"{based[0]}.json").read_text())
    for addition in additions():
        if addition["vendor"] in based:
            _add(made["schemas"], addition)
    return made


def _add(schemas: Schemas, addition: dict[str, Any]) -> None:
    """Fields beside the fields of an object, or forms beside the forms of a list."""
    place: Any = schemas
    for step in addition["at"]:
        place = place[step]
    if isinstance(place, list):
        place += addition["add"]
    else:
        twice = place.keys() & addition["add"].keys()
        assert not twice, f"{addition['name']}: {twice} is published by now"
        place |= addition["add"]


@functools.cache
def _validator(vendor: str, form: str) -> Any:
    made = document(vendor)
    root = {"$ref": f"#/$defs/{made['roots'][form]}", "$defs": made["schemas"]}
    return jsonschema_rs.Draft202012Validator(root)


@functools.cache
def fields(vendor: str, form: str) -> dict[str, Any]:
    """The schema of each field of a request."""
    made = document(vendor)
    found: dict[str, Any] = {}
    _collect(made["schemas"], made["schemas"][made["roots"][form]], found)
    return found


def _collect(schemas: Schemas, schema: Any, found: dict[str, Any]) -> None:
    if "$ref" in schema:
        _collect(schemas, schemas[schema["$ref"].removeprefix("#/$defs/")], found)
    found.update(schema.get("properties", {}))
    for inner in schema.get("allOf", ()):
        _collect(schemas, inner, found)


def kinds(vendor: str, form: str, name: str) -> set[str]:
    """The JSON types that a field of a request may have, as the schema names them; none for any."""
    made = document(vendor)
    return set(_kinds(made["schemas"], fields(vendor, form)[name]))


def _kinds(schemas: Schemas, schema: Any) -> Iterator[str]:
    if "$ref" in schema:
        yield from _kinds(schemas, schemas[schema["$ref"].removeprefix("#/$defs/")])
    for inner in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from _kinds(schemas, inner)
    given = schema.get("type", [])
    yield from [given] if isinstance(given, str) else given


def why_not(vendor: str, form: str, body: Any) -> dict[str, str]:
    """What a vendor's schema has against a body, by the field at the top; "" is the whole. Empty for a valid one."""
    validator = _validator(vendor, form)
    if validator.is_valid(body):
        return {}
    unknown = body.keys() - fields(vendor, form).keys()
    found = dict.fromkeys(map(str, unknown), "it is no field of this request")
    try:
        for error in validator.iter_errors(body):
            place = ".".join(map(str, error.instance_path))
            # One wrong field makes others look unknown.
            if place or error.kind.name != "unevaluatedProperties":
                found[place.split(".")[0]] = f"{place}: {error.message[:300]}"
    except ValueError as limit:  # of how deep it looks
        found[""] = str(limit)
    return found
