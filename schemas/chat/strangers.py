"""Owns the refusal of what no list forwards: top-level fields of a body, and types of tools, that its model's row lacks."""

import msgspec
from msgspec import Raw

from schemas.asked import Fields
from schemas.catalogue.model import Model
from schemas.chat.priced import MODEL_CHARS_MAX, RequestError
from schemas.chat.request import CHAT
from schemas.errors import WireError, invalid, unsupported_value
from schemas.json import UNREADABLE

_FUNCTION = "function"
_TYPE = "type"
_decode_tools = msgspec.json.Decoder(list[dict[str, Raw]] | None).decode
_decode_text = msgspec.json.Decoder(str | None).decode
_NULL = Raw(b"null")


def check(fields: Fields, model: Model, dialect: str) -> None:
    """Raises RequestError for what would not be sent to a model's upstream: its name may mean any price."""
    forwards = model.forwards
    listed = forwards.fields(chat=dialect == CHAT)
    if not fields.keys() <= listed:
        for name in fields:
            if name not in listed and name not in forwards.more:
                raise RequestError(_unknown(name))
    tools = fields.get("tools")
    if tools is not None:
        _check_tools(tools, model)


def _check_tools(raw: Raw, model: Model) -> None:
    try:
        tools = _decode_tools(raw) or ()
        kinds = [_kind(tool) for tool in tools]
    except UNREADABLE:
        text = "'tools' must be an array of objects, each with a type."
        raise RequestError(invalid(text, param="tools", code="invalid_type")) from None
    for index, kind in enumerate(kinds):
        if kind not in model.forwards.tools:
            known = ", ".join(model.forwards.tools)
            text = f"The model `{model.id}` ({model.provider}) takes tools of these types only: {known}."
            raise RequestError(unsupported_value(f"tools[{index}].type", text))


def _kind(tool: Fields) -> str | None:
    """A tool's type; servers take one without for a function, where it is one. Raises UNREADABLE."""
    kind = _decode_text(tool.get(_TYPE, _NULL))
    return _FUNCTION if kind is None and _FUNCTION in tool else kind


def _unknown(name: str) -> WireError:
    shown = name[:MODEL_CHARS_MAX]
    text = f"Unknown parameter: '{shown}'. It is not sent to any provider."
    return invalid(text, param=shown, code="unknown_parameter")
