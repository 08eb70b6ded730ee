"""Schemas for Gemini: they mean what they meant, in the words that it reads."""

import json
from typing import Any

import pytest
from msgspec import Raw

from workers.providers.gemini.schemas import suited

REF = {"$ref": "#/$defs/X"}


def made(schema: Any) -> Any:
    """A property's schema as it is sent."""
    raw = suited(Raw(json.dumps({"type": "object", "properties": {"a": schema}}).encode()))
    return json.loads(bytes(raw))["properties"]["a"]


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (REF, REF),
        (REF | {"description": "d"}, {"description": "d", "anyOf": [REF]}),
        ({"allOf": [REF], "description": "d"}, {"description": "d", "anyOf": [REF]}),
        ({"const": "x"}, {"enum": ["x"]}),
        ({"type": "integer", "const": 5}, {"type": "integer", "enum": [5]}),
        ({"const": True}, {"const": True}),
        ({"type": "array", "items": {"const": "x"}}, {"type": "array", "items": {"enum": ["x"]}}),
        ({"enum": ["$ref", "const"]}, {"enum": ["$ref", "const"]}),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"b": {}}, "required": ["b"]},
                    {"type": "object", "properties": {"c": {}}, "required": ["c"]},
                ]
            },
            {"type": "object", "properties": {"b": {}, "c": {}}, "required": ["b", "c"]},
        ),
        (
            {"allOf": [{"type": "string"}, {"minLength": 2}]},
            {"allOf": [{"type": "string"}, {"minLength": 2}]},
        ),
        ({"properties": {"$ref": {"type": "string"}}}, {"properties": {"$ref": {"type": "string"}}}),
    ],
)
def test_what_it_reads_in_another_way(schema: Any, told: Any) -> None:
    """A reference stands alone, a constant is a choice, and objects of an `allOf` are one where they cannot clash."""
    assert made(schema) == told


def test_any_other_schema_stays_byte_for_byte() -> None:
    """`oneOf`, counts, formats and schemas that refer to themselves are its own words."""
    schema = {
        "type": "object",
        "properties": {
            "a": {"oneOf": [{"type": "string", "format": "date"}, {"type": "array", "minItems": 2}]},
            "next": {"$ref": "#"},
        },
    }
    raw = Raw(json.dumps(schema).encode())
    assert suited(raw) is raw
