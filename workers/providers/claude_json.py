"""Owns what Claude's models need to answer in JSON, wherever they are served: an instruction, and closed schemas."""

from typing import Any, Final

import msgspec

JSON_INSTRUCTION: Final = (
    "Answer with one JSON object and nothing else: no words and no code fence around it."
)

# Keywords of JSON Schema that a schema for answers may not have; they are told to the model in words instead.
_WORDED: Final = frozenset(
    (
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
    )
)
_encode = msgspec.json.Encoder().encode


def closed(schema: Any) -> Any:
    """A schema in the subset that answers may have: objects are closed, and constraints without words described."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    answer: dict[str, Any] = {}
    told: list[str] = []
    for key, value in schema.items():
        if key in _WORDED and not isinstance(value, dict | list):
            told.append(f"{key}: {_encode(value).decode()}")
        elif key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            answer[key] = {name: closed(inner) for name, inner in value.items()}
        elif key in ("enum", "const", "default", "examples", "required"):
            answer[key] = value
        else:
            answer[key] = closed(value)
    if answer.get("type") == "object" or "properties" in answer:
        answer["additionalProperties"] = False
    if told:
        before = f"{answer['description']} " if isinstance(answer.get("description"), str) else ""
        answer["description"] = f"{before}({', '.join(told)})"
    return answer
