"""Schemas for Claude's answers: whatever OpenAI takes is in the subset, or told in words."""

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.claude_schemas import check_subset
from workers.providers.claude_json import OpenSchemaError, closed, instruction


def of(**properties: Any) -> dict[str, Any]:
    """An object with these properties."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def one(schema: Any) -> Any:
    """A property's schema in the subset, checked by its rules."""
    made = closed(of(a=schema))
    check_subset(made)
    return made["properties"]["a"]


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        ({"type": "integer", "minimum": 3}, {"type": "integer", "description": "(minimum: 3)"}),
        (
            {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 9},
            {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": "(minItems: 3, maxItems: 9)",
            },
        ),
        ({"type": "array", "minItems": 1}, {"type": "array", "minItems": 1}),
        ({"type": "array", "minItems": 0}, {"type": "array", "minItems": 0}),
        (
            {"oneOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        ({"type": "string", "format": "uuid"}, {"type": "string", "format": "uuid"}),
        (
            {"type": "string", "format": "idn-email", "description": "Whose."},
            {"type": "string", "description": 'Whose. (format: "idn-email")'},
        ),
        ({"type": "string", "pattern": "^[a-z]+$"}, {"type": "string", "pattern": "^[a-z]+$"}),
        (
            {"type": "string", "pattern": "(?=a)b"},
            {"type": "string", "description": '(pattern: "(?=a)b")'},
        ),
        ({"enum": ["a", 1, None]}, {"enum": ["a", 1, None]}),
        ({"enum": [{"a": 1}]}, {"description": '(enum: [{"a":1}])'}),
        ({"const": [1]}, {"description": "(const: [1])"}),
        ({"not": {"type": "null"}}, {"description": '(not: {"type":"null"})'}),
        ({"type": "string", "examples": ["x"]}, {"type": "string", "description": '(examples: ["x"])'}),
        ({"$comment": "c", "type": "null"}, {"type": "null"}),
        (
            {"allOf": [of(x={"type": "null"}), of(y={"type": "null"})]},
            of(x={"type": "null"}, y={"type": "null"}) | {"additionalProperties": False},
        ),
        (
            {"allOf": [{"type": "string"}, {"minLength": 2}]},
            {"allOf": [{"type": "string"}, {"description": "(minLength: 2)"}]},
        ),
    ],
)
def test_what_is_outside_the_subset_is_told(schema: Any, wanted: Any) -> None:
    """A keyword of the subset stays; any other becomes words, and `oneOf` is `anyOf`."""
    assert one(schema) == wanted


def test_references_stay_and_are_closed() -> None:
    """What a reference leads to is closed where it stands; one inside `allOf` is put in its place."""
    schema = of(a={"$ref": "#/$defs/X"}, b={"allOf": [{"$ref": "#/$defs/X"}], "description": "The b."})
    made = closed(schema | {"$defs": {"X": of(y={"type": "null"})}})
    check_subset(made)
    assert made["$defs"]["X"]["additionalProperties"] is False
    assert made["properties"]["a"] == {"$ref": "#/$defs/X"}
    assert made["properties"]["b"]["properties"] == {"y": {"type": "null"}}
    assert made["properties"]["b"]["description"] == "The b."


@pytest.mark.parametrize(
    "schema",
    [
        of(a={"$ref": "#"}),
        of(a={"$ref": "#/$defs/X"}) | {"$defs": {"X": of(next={"$ref": "#/$defs/X"})}},
        of(a={"$ref": "#/$defs/X"})
        | {"$defs": {"X": of(y={"$ref": "#/$defs/Y"}), "Y": {"anyOf": [{"$ref": "#/$defs/X"}]}}},
        of(a={"$ref": "https://example.org/schema"}),
        of(a={"$ref": "#/$defs/none"}),
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "patternProperties": {"^a": {}}},
    ],
)
def test_what_no_closed_schema_can_say_is_an_instruction(schema: Any) -> None:
    """Recursion, references outwards and properties of any name: the whole schema is told in words instead."""
    with pytest.raises(OpenSchemaError):
        closed(schema)
    assert json.dumps(schema) in instruction(json.dumps(schema).encode())


@pytest.mark.parametrize("kind", ["$ref", "allOf"])
def test_references_to_references_cost_little(kind: str) -> None:
    """Sixty definitions, each with two references to the next, are walked once each."""
    defs: dict[str, Any] = {"d60": of(z={"type": "null"})}
    for at in range(60):
        target = {"$ref": f"#/$defs/d{at + 1}"}
        defs[f"d{at}"] = of(x=target, y=target) if kind == "$ref" else {"allOf": [target, dict(target)]}
    began = time.process_time()
    with contextlib.suppress(OpenSchemaError):
        closed(of(a={"$ref": "#/$defs/d0"}) | {"$defs": defs})
    assert time.process_time() - began < 1


_names = st.sampled_from(["a", "b"])
_schemas = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "null", "array", "object"])},
        optional={
            "minItems": st.integers(0, 5),
            "format": st.sampled_from(["date", "x"]),
            "not": st.just({}),
        },
    ),
    lambda inner: st.one_of(
        st.builds(lambda items: {"oneOf": items}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda items: {"allOf": items}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda items: {"anyOf": items}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda items: {"type": "array", "items": items, "uniqueItems": True}, inner),
        st.builds(lambda items: {"type": "object", "properties": items}, st.dictionaries(_names, inner)),
    ),
    max_leaves=8,
)


@given(_schemas)
def test_any_schema_ends_in_the_subset(schema: Any) -> None:
    """Whatever stands in whatever, the result keeps the API's rules."""
    check_subset(closed(of(a=schema)))
