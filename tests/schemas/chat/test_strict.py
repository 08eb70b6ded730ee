"""Strict schemas for OpenAI: closed where nothing changes by it, and else not strict."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from schemas.catalogue.model import Capabilities, Model
from schemas.chat.strict import strict_schema
from schemas.dialects.messages.dialect import DIALECT

OPENAI = Model(
    id="m",
    pool="p",
    provider="openai",
    upstream="g",
    context=200_000,
    max_output=500,
    capabilities=Capabilities(strict_tools=True, json_schema=True),
)


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


def translated(**fields: Any) -> tuple[Any, int]:
    """What a body of Messages becomes for a model of OpenAI's, and the bound of its prompt."""
    body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **fields}
    decoded = DIALECT.decode(json.dumps(body, separators=(",", ":")).encode())
    bound = DIALECT.bound(decoded, DIALECT.read(decoded), OPENAI)
    return DIALECT.translate(OPENAI, DIALECT.encode(decoded)), bound.prompt_max


def test_strict_tools_of_messages() -> None:
    """Anthropic lets properties be left out: such a tool is not strict at OpenAI, and its schema stays as it is."""
    loose = of([], a={"type": "string"})
    tools = [
        {"name": name, "strict": True, "input_schema": schema}
        for name, schema in (("f", INNER), ("g", loose))
    ]
    first, second = translated(tools=tools)[0].tools
    assert (first.function.strict, second.function.strict) == (True, False)
    assert json.loads(bytes(first.function.parameters)) == INNER | {"additionalProperties": False}
    assert json.loads(bytes(second.function.parameters)) == loose


def test_what_closes_a_schema_is_priced() -> None:
    """Each of its objects grows by a few words."""
    many = of(list(map(str, range(99))), **{str(at): INNER for at in range(99)})
    asked, bound = translated(tools=[{"name": "f", "strict": True, "input_schema": many}])
    assert bound - translated()[1] >= len(msgspec.json.encode(asked.tools))


def test_forms_of_answers_of_messages() -> None:
    """They are strict where they can be: OpenAI takes another schema for no more than a hint."""
    for schema, strict in ((INNER, True), (of([], a={"type": "string"}), None)):
        form = {"format": {"type": "json_schema", "schema": schema}}
        wanted = translated(output_config=form)[0].response_format.json_schema
        assert wanted.strict is strict
