"""Owns the typed chat request as JSON: what an upstream that speaks OpenAI's chat is sent for a caller who does not."""

from typing import Any, Final

from msgspec import Raw, Struct

from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.chat.request import ChatRequest, ThoughtfulMessage

_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_OURS: Final = frozenset(("thoughts",))  # reasoning has no place in a chat


def chat_body(request: ChatRequest, job: Job, model: Model) -> dict[str, Any]:
    """The body of a chat call with the granted limit under the model's own name, ready to be encoded."""
    body = _plain(request)
    for name in (*_LIMITS, "stream_options"):
        body.pop(name, None)
    body[model.capabilities.limit_field] = job.limit
    return body


def _plain(struct: Struct) -> dict[str, Any]:
    """A struct's fields without those that are absent: many servers take no null."""
    fields: dict[str, Any] = {}
    config = struct.__struct_config__
    if config.tag_field is not None:
        fields[config.tag_field] = config.tag
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if value is None or (isinstance(value, Raw) and bytes(value) in (b"", b"null")):
            continue
        if name not in _OURS or not isinstance(struct, ThoughtfulMessage):
            fields[name] = _value(value)
    return fields


def _value(value: Any) -> Any:
    if isinstance(value, Raw):
        return value
    if isinstance(value, Struct):
        return _plain(value)
    if isinstance(value, list):
        return [_value(one) for one in value]
    return value
