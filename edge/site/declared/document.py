"""Owns the OpenAPI document, made of the operations and of the structs that they name."""

from typing import Any, Final

import msgspec

from edge.site.declared import errors
from edge.site.declared.base import Operation
from edge.site.declared.failures import FAILURES
from edge.site.declared.notes import NOTES
from edge.site.declared.operations import OPERATIONS
from edge.site.site import ROOT

_REF: Final = "#/components/schemas/{name}"
_TAGS: Final = (
    ("Calls", "One request, one answer, one bill: every model answers on each of these routes."),
    ("Models", "What can be called now, with prices and capabilities."),
    ("Your key", "What a key's holder may read about it. A key without money reads all of it."),
    ("Not kept", "Routes that clients of OpenAI ask for, and what they are told."),
    ("This gateway", "Pages, health and metrics: no key is needed."),
)
_ABOUT: Final = (
    "Point any OpenAI or Anthropic SDK at this gateway. You choose the model string per request; billing follows metered "
    "usage. Every route under `/v1` wants `Authorization: Bearer <TOKN_API_KEY>`, or the key alone in `x-api-key`."
)


def document() -> dict[str, Any]:
    """The whole document; addresses begin with `ROOT`."""
    kinds: list[Any] = [errors.Error, errors.MessagesError]
    for one in OPERATIONS:
        kinds += [kind for kind in (one.body, one.answer) if kind is not None and kind not in kinds]
    refs, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema = dict(zip(map(id, kinds), refs, strict=True))
    components = msgspec.json.decode(msgspec.json.encode(components))  # lists in place of tuples
    _annotate(components)
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one, schema)
    used = sorted({(status, one.envelope) for one in OPERATIONS for status in one.errors})
    return {
        "openapi": "3.1.0",
        "info": {"title": "tokn$ HTTP API", "version": "1", "description": _ABOUT},
        "servers": [{"url": ROOT}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "responses": {
                _failure(status, envelope): _refusal(status, envelope) for status, envelope in used
            },
            "schemas": dict(sorted(components.items())),
        },
    }


def _annotate(components: dict[str, Any]) -> None:
    for made in components.values():
        for field in made.get("properties", {}).values():
            if field.get("default", "") is None:
                del field["default"]  # null is absent, everywhere
    for name, fields in NOTES.items():
        for field, note in fields.items():
            components[name]["properties"][field].setdefault("description", note)


def _operation(one: Operation, schema: dict[int, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": one.id, "tags": [one.tag], "summary": one.summary}
    if one.text:
        made["description"] = one.text
    if not one.keyed:
        made["security"] = []
    if one.parameters:
        made["parameters"] = [
            {"name": p.name, "in": p.place, "required": p.required, "description": p.text, "schema": p.schema}
            for p in one.parameters
        ]
    if one.body is not None:
        content: dict[str, Any] = {"schema": schema[id(one.body)]}
        if one.example is not None:
            content["example"] = one.example
        made["requestBody"] = {"required": True, "content": {"application/json": content}}
    made["responses"] = _answers(one, schema)
    if one.samples:
        made["x-codeSamples"] = [{"lang": sample.language, "source": sample.code} for sample in one.samples]
    return made


def _answers(one: Operation, schema: dict[int, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    if one.status:
        content = {
            one.kind: {"schema": schema[id(one.answer)] if one.answer is not None else {"type": "string"}}
        }
        if one.streams:
            content["text/event-stream"] = {"schema": {"type": "string"}}
        answers[str(one.status)] = {
            "description": "The answer."
            if not one.streams
            else "The answer, or its events where the body says `stream`.",
            "headers": {"x-request-id": {"description": "The call's id.", "schema": {"type": "string"}}},
            "content": content,
        }
    for status in one.errors:
        answers[str(status)] = {"$ref": f"#/components/responses/{_failure(status, one.envelope)}"}
    return answers


def _failure(status: int, envelope: str) -> str:
    return f"{envelope}{status}"


def _refusal(status: int, envelope: str) -> dict[str, Any]:
    failure = FAILURES[status]
    codes = f" Codes: {', '.join(f'`{code}`' for code in failure.codes)}." if failure.codes else ""
    return {
        "description": failure.meaning + codes,
        "content": {"application/json": {"schema": {"$ref": _REF.format(name=envelope)}}},
    }
