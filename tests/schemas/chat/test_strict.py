"""Strict schemas for OpenAI: closed where nothing changes by it, and else not strict."""

import json
from typing import Any

import pytest
from msgspec import Raw

from schemas.chat.strict import strict_schema


def of(required: list[str], **properties: Any) -> dict[str, Any]:
    """An object."""
    return {"type": "object", "properties": properties, "required": required}


def made(schema: Any) -> Any:
    """What it is as a strict one; None for none."""
    raw = strict_schema(Raw(json.dumps(schema).encode()))
    return None if raw is None else json.loads(bytes(raw))


INNER = of(["b"], b={"type": ["string", "null"], "format": "uuid"})


def test_every_object_is_closed() -> None:
    """Those in lists, in choices and behind references too; a schema that refers to itself stays one."""
    schema = of(
        ["a", "c", "d"],
        a={"type": "array", "items": INNER, "minItems": 2},
        c={"anyOf": [INNER, {"type": "null"}]},
        d={"$ref": "#/$defs/N"},
    ) | {"$defs": {"N": of(["n"], n={"$ref": "#/$defs/N"})}}
    told = made(schema)
    closed = INNER | {"additionalProperties": False}
    assert told["additionalProperties"] is False
    assert told["properties"]["a"]["items"] == told["properties"]["c"]["anyOf"][0] == closed
    assert told["$defs"]["N"]["additionalProperties"] is False
    assert made(told) == told


@pytest.mark.parametrize(
    "schema",
    [
        of([], a={"type": "string"}),
        of(["a"], a=of([], b={"type": "string"})),
        of(["a"], a={"oneOf": [{"type": "string"}]}),
        of(["a"], a={"type": "string", "format": "uri"}),
        of(["a"], a={"type": "string", "minLength": 3}),
        of(["a"], a={"allOf": [INNER]}),
        of(["a"], a=True),
        of(["a"], a={"type": "string"}) | {"additionalProperties": True},
        of(["a"], a={"type": "object", "additionalProperties": {"type": "string"}}),
        {"anyOf": [INNER]},
        [],
    ],
)
def test_what_a_strict_schema_cannot_say(schema: Any) -> None:
    """Properties that may be left out, keywords that strict schemas have not, objects of any names."""
    assert made(schema) is None
