"""Owns an OpenAPI document as a page tells it: operations by tag, and each schema's fields as rows."""

from collections.abc import Mapping
from typing import Any, Final

from markupsafe import Markup, escape
from msgspec import Struct

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_DEPTH_MAX: Final = 8  # of types within types, before a reader is better served by "object"


class Field(Struct, frozen=True):
    """One row: a property of a schema, or a parameter. `kind` links to the schemas that it names."""

    name: str
    kind: Markup
    required: bool
    text: Markup
    place: str = ""


class Answer(Struct, frozen=True):
    """What may come back."""

    status: str
    text: Markup
    kind: Markup


class Told(Struct, frozen=True, kw_only=True):
    """One operation."""

    anchor: str
    method: str
    path: str
    summary: str
    text: Markup
    keyed: bool
    parameters: tuple[Field, ...]
    body: Markup
    answers: tuple[Answer, ...]
    samples: tuple[tuple[str, str], ...]


class Group(Struct, frozen=True):
    """The operations of one tag."""

    name: str
    anchor: str
    text: str
    operations: tuple[Told, ...]


class Shape(Struct, frozen=True):
    """One schema with a name."""

    name: str
    anchor: str
    text: Markup
    fields: tuple[Field, ...]


class Reference(Struct, frozen=True):
    """All that a page shows of a document."""

    title: str
    text: Markup
    groups: tuple[Group, ...]
    shapes: tuple[Shape, ...]


def reference(document: Mapping[str, Any]) -> Reference:
    """A document, which must be valid, in the order of its tags. Operations without a tag of the list are left out."""
    found: dict[str, list[Told]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            operation = methods.get(method)
            for tag in operation["tags"] if operation is not None else ():
                if tag in found:
                    found[tag].append(_told(document, path, method, operation))
    groups = tuple(
        Group(tag["name"], _anchor(tag["name"]), tag.get("description", ""), tuple(found[tag["name"]]))
        for tag in document["tags"]
    )
    shapes = tuple(
        Shape(name, f"schema-{name}", prose(schema.get("description", "")), _fields(schema))
        for name, schema in document["components"]["schemas"].items()
    )
    info = document["info"]
    return Reference(info["title"], prose(info.get("description", "")), groups, shapes)


def prose(text: str) -> Markup:
    """A sentence in which backticks mark code, as descriptions have it."""
    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    )


def kind(schema: Mapping[str, Any], depth: int = 0) -> Markup:
    """A type in words: `array of ChatMessage, or null`."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if depth > _DEPTH_MAX:
        return escape("any")
    for several in ("anyOf", "oneOf"):
        if several in schema:
            choices = dict.fromkeys(kind(one, depth + 1) for one in schema[several])
            return Markup(" or ").join(choices)
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return Markup(" or ").join(Markup("<code>{}</code>").format(value) for value in values)
    named = schema.get("type", "any")
    if named == "array":
        return Markup("array of {}").format(kind(schema.get("items", {}), depth + 1))
    words = escape(named if isinstance(named, str) else " or ".join(named))
    bounds = (schema.get("minimum"), schema.get("maximum"))
    if bounds[1] is not None:
        words += Markup(" from {} to {}").format(*bounds)
    return words


def _fields(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    required = schema.get("required", ())
    return tuple(
        Field(name, kind(field), name in required, prose(_note(field)))
        for name, field in schema.get("properties", {}).items()
    )


def _note(field: Mapping[str, Any]) -> str:
    text = str(field.get("description", ""))
    default = field.get("default")
    return f"{text} `{default}` without it.".strip() if default not in (None, "", [], {}) else text


def _told(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> Told:
    content = operation.get("requestBody", {}).get("content", {})
    body = Markup(", ").join(kind(one["schema"]) for one in content.values())
    return Told(
        anchor=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        text=prose(operation.get("description", "")),
        keyed=operation.get("security") != [],
        parameters=tuple(
            Field(one["name"], kind(one["schema"]), one["required"], prose(one["description"]), one["in"])
            for one in operation.get("parameters", ())
        ),
        body=body,
        answers=tuple(_answer(document, status, one) for status, one in operation["responses"].items()),
        samples=tuple((one["lang"], one["source"]) for one in operation.get("x-codeSamples", ())),
    )


def _answer(document: Mapping[str, Any], status: str, answer: Mapping[str, Any]) -> Answer:
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    words = [
        kind(one["schema"]) if media == "application/json" else Markup("<code>{}</code>").format(media)
        for media, one in answer.get("content", {}).items()
    ]
    return Answer(status, prose(answer["description"]), Markup(" or ").join(words))


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")
