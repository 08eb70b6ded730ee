"""Owns the OpenAPI 3.1 document of the admin API: made from its routes, and from the structs that they read and write."""

import re
from functools import cache
from typing import Any

import msgspec

from console.api.base import Route
from console.api.errors import ErrorBody
from console.api.routes import DOCUMENT, EVERY_ROUTE, PREFIX, routes
from schemas.admin.reasons import STATUS

TITLE = "tokn admin API"
VERSION = "2026-12-01"
_REFS = "#/components/schemas/{name}"
_COMMON = {
    400: "The request cannot be: `param` names what is wrong.",
    401: "`invalid_management_key`: there is no such key, or no longer.",
    403: "`missing_scope`: the message names the scope that is missing.",
    404: "`resource_missing`: it is not there, or another organisation's.",
    405: "`method_not_allowed`",
    409: "It contradicts what is there: `code` says how.",
    413: "`request_too_large`: a body has at most 64 KiB.",
    429: "Too many requests of this credential; `Retry-After` says when.",
    503: "`ledger_away`: no ledger answers.",
}
_HEADERS = {
    "Idempotency-Key": "The same key with the same request does nothing more, and has the same answer.",
    "If-Match": 'The version that a change is meant for, as `"3"`; else 409 `version_conflict`.',
}


def _types() -> list[Any]:
    named = [
        kind for route in EVERY_ROUTE for kind in (route.answer, route.body, route.query) if kind is not None
    ]
    return list(dict.fromkeys([*named, ErrorBody]))


@cache
def _schemas() -> tuple[dict[Any, Any], dict[str, Any]]:
    kinds = _types()
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFS)
    return dict(zip(kinds, schemas, strict=True)), components


def operation_id(route: Route) -> str:
    """A name for a route: `get_keys_id`."""
    words = re.findall(r"\w+", route.path)
    return "_".join((route.method.lower(), *words))


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schemas, components = _schemas()
    name = schemas[route.query]["$ref"].rpartition("/")[2]
    body = components[name]
    return [
        {
            "name": field,
            "in": "query",
            "required": field in body.get("required", ()),
            "schema": schema,
        }
        for field, schema in body["properties"].items()
    ]


def _parameters(route: Route) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    found += _query_parameters(route)
    if route.expand:
        items = {"type": "string", "enum": list(route.expand)}
        found.append(
            {
                "name": "expand[]",
                "in": "query",
                "required": False,
                "explode": True,
                "schema": {"type": "array", "items": items, "maxItems": len(route.expand)},
            }
        )
    if route.writes:
        names = ["Idempotency-Key", *(["If-Match"] if route.current is not None else [])]
        found += [_header(name) for name in names]
    return found


def _header(name: str) -> dict[str, Any]:
    pattern = r'^"[1-9][0-9]{0,9}"$' if name == "If-Match" else "^[ -~]*$"
    schema = {"type": "string", "maxLength": 255, "pattern": pattern}
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": _HEADERS[name],
        "schema": schema,
    }


def _error(status: int, words: str) -> dict[str, Any]:
    schemas, _ = _schemas()
    told: dict[str, Any] = {
        "description": words,
        "content": {"application/json": {"schema": schemas[ErrorBody]}},
    }
    if status in (429, 503):
        told["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return told


def _responses(route: Route) -> dict[str, Any]:
    schemas, _ = _schemas()
    content: dict[str, Any] = {kind: {"schema": {"type": "string"}} for kind in route.kinds}
    if route.answer is not None:
        content["application/json"] = {"schema": schemas[route.answer]}
    own = {
        str(route.status): {
            "description": "Done." if route.writes else "As it is now.",
            "headers": {
                "x-request-id": {"schema": {"type": "string"}},
                "tokn-version": {"schema": {"type": "string"}},
                **({"Idempotent-Replayed": {"schema": {"const": "true"}}} if route.writes else {}),
            },
            "content": content,
        }
    }
    words = dict(_COMMON)
    for reason in route.reasons:
        words[STATUS[reason]] = f"{words[STATUS[reason]]} Also `{reason.value}`."
    return own | {str(status): _error(status, said) for status, said in words.items()}


def _operation(route: Route) -> dict[str, Any]:
    schemas, _ = _schemas()
    needs = f"Needs the scope `{route.scope}`." if route.scope else "Needs no scope."
    made: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "description": needs,
        "tags": [route.path.split("/")[1]],
        "security": [{"managementKey": []}],
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.body is not None:
        made["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[route.body]}},
        }
    return made


@cache
def described(*, payments: bool = False) -> dict[str, Any]:
    """The document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes(payments=payments):
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route)
    _, components = _schemas()
    made = {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": VERSION,
            "description": "Amounts are integers of nano-dollars (`*_nano`), times unix seconds. "
            f"This document is served at {PREFIX}{DOCUMENT}.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "managementKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A management key: `tokn_admin_…`.",
                }
            },
        },
    }
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
    return told


@cache
def document(*, payments: bool = False) -> bytes:
    """The document as it is served."""
    return msgspec.json.encode(described(payments=payments))
