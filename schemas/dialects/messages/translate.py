"""Owns what a Messages request becomes for other families: the typed chat request, its options and tools."""

import hashlib
from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.catalogue.families import PASS_THROUGH
from schemas.catalogue.model import Model
from schemas.chat.caching import takes_marks
from schemas.chat.priced import RequestError
from schemas.chat.request import (
    NO_JSON,
    ChatRequest,
    Function,
    JsonSchema,
    ResponseFormat,
)
from schemas.chat.request import Tool as ChatTool
from schemas.chat.strict import strict_schema
from schemas.dialects.messages.fields import CUSTOM
from schemas.dialects.messages.names import told_name
from schemas.dialects.messages.priced import refuse
from schemas.dialects.messages.request import MessagesRequest, Tool
from schemas.dialects.messages.turns import Turns
from schemas.errors import invalid
from schemas.json import UNREADABLE, check_text

_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_BUDGETS: Final = ((2_048, "low"), (8_192, "medium"))  # a larger budget is a high effort
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_FORMAT_NAME: Final = "answer"
_OPENAI: Final = "openai"

_decode = msgspec.json.Decoder(MessagesRequest).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def decode(body: bytes) -> MessagesRequest:
    """A body's typed form. Raises RequestError 400."""
    try:
        check_text(body)
        return _decode(body)
    except RecursionError:
        raise RequestError(invalid("The request body is nested too deeply.")) from None
    except UNREADABLE as fault:
        raise RequestError(invalid(_dotted(str(fault))[:300], code="invalid_type")) from None


def translate(model: Model, body: bytes, scope: str) -> tuple[ChatRequest, list[str]]:
    """A body as a chat request for one model, and where each of its messages stands in the body. Raises RequestError 400.

    What the model has no use for is left out; `schemas.dialects.messages.priced` names it.
    """
    asked = decode(body)
    able = model.capabilities
    tools = _tools(asked, model)
    choice, serial = _choice(asked, tools)
    effort = _effort(asked, model)
    sampled = able.sampling and not (able.sampling_at_none and (effort or able.effort_default) != "none")
    turns = Turns(asked, model, scope)
    if not turns.messages:
        refuse("messages", "at least one message with content is required")
    request = ChatRequest(
        model=asked.model,
        messages=turns.messages,
        tools=tools or None,
        tool_choice=choice,
        parallel_tool_calls=False if serial and tools and able.serial_tools else None,
        response_format=_format(asked, model),
        stop=asked.stop_sequences or None,
        max_completion_tokens=asked.max_tokens,
        temperature=asked.temperature if sampled else None,
        top_p=asked.top_p if sampled else None,
        top_k=asked.top_k if sampled and able.top_k else None,
        reasoning_effort=effort,
        safety_identifier=_person(asked, model),
        stream=asked.stream,
        cache_control=asked.cache_control if takes_marks(model) else None,
    )
    return request, turns.origins


def _tools(asked: MessagesRequest, model: Model) -> list[ChatTool]:
    """The caller's own tools; one that runs at the provider is left out, unless nothing is left then."""
    kept = []
    for at, tool in enumerate(asked.tools or ()):
        if tool.type in (None, CUSTOM):
            kept.append(_tool(tool, at, model))
        elif asked.tool_choice is not None and asked.tool_choice.name == tool.name:
            refuse("tool_choice", f"the tool {tool.name[:64]!r} is not served for the model `{model.id}`")
    if asked.tools and not kept:
        kind = str(asked.tools[0].type)[:64]
        refuse("tools.0.type", f"the tool {kind!r} is not served for the model `{model.id}`")
    return kept


def _tool(tool: Tool, at: int, model: Model) -> ChatTool:
    if not tool.name:
        refuse(f"tools.{at}.name", "Field required")
    schema = _schema(tool.input_schema, at)
    # Elsewhere a schema that is no strict one by that provider's rules would be refused.
    strict = tool.strict if model.capabilities.strict_tools else None
    if strict and model.family in PASS_THROUGH:
        closed = strict_schema(schema)
        schema, strict = (schema, False) if closed is None else (closed, True)
    function = Function(told_name(tool.name), tool.description, schema, strict)
    mark = tool.cache_control if takes_marks(model) else None
    return ChatTool(type="function", function=function, cache_control=mark)


def _schema(raw: Raw, at: int) -> Raw:
    if bytes(raw) in (b"", b"null"):
        return NO_JSON
    if not bytes(raw).startswith(b"{"):
        refuse(f"tools.{at}.input_schema", "Input should be a valid dictionary")
    if b'"$schema"' not in bytes(raw):
        return raw
    fields = _decode_fields(raw)
    fields.pop("$schema", None)
    return Raw(_encode(fields))


def _choice(asked: MessagesRequest, tools: list[ChatTool]) -> tuple[str | dict[str, Any] | None, bool]:
    """The tool choice in OpenAI's words, and whether one call at a time is wanted."""
    choice = asked.tool_choice
    if choice is None or not tools:
        return None, False
    serial = bool(choice.disable_parallel_tool_use)
    if choice.type == "tool":
        return {"type": "function", "function": {"name": told_name(choice.name)}}, serial
    if choice.type not in _CHOICES:
        refuse("tool_choice.type", "It must be auto, any, tool or none.")
    return _CHOICES[choice.type], serial


def _format(asked: MessagesRequest, model: Model) -> ResponseFormat | None:
    wanted = asked.output_config.format if asked.output_config is not None else None
    if wanted is None:
        return None
    if wanted.type != "json_schema":
        refuse("output_config.format.type", "It must be json_schema.")
    schema = JsonSchema(_FORMAT_NAME, wanted.schema)
    # Anthropic keeps to any schema; OpenAI to strict ones, and takes others for a hint.
    if model.family in PASS_THROUGH and (closed := strict_schema(wanted.schema)) is not None:
        schema = JsonSchema(_FORMAT_NAME, closed, strict=True)
    return ResponseFormat("json_schema", schema)


def _effort(asked: MessagesRequest, model: Model) -> str | None:
    """How much to reason, as far as the model can: an effort says more than a budget, and neither is refused."""
    able = model.capabilities
    thinking = asked.thinking
    wanted = asked.output_config.effort if asked.output_config is not None else None
    if thinking is not None and thinking.type == "disabled":
        wanted = "none"
    elif thinking is not None and wanted is None:
        budget = thinking.budget_tokens
        if budget is not None and budget >= (asked.max_tokens or 0):
            refuse("thinking.budget_tokens", "`max_tokens` must be greater than `thinking.budget_tokens`")
        if budget is None:
            wanted = able.effort_default or "medium"
        else:
            wanted = next((effort for most, effort in _BUDGETS if budget <= most), "high")
    if wanted is None or not able.efforts:
        return None
    if wanted not in _EFFORTS:
        refuse("output_config.effort", f"It must be one of {', '.join(_EFFORTS)}.")
    if wanted == "none" and wanted not in able.efforts:
        return None
    if wanted != "none" and able.thinking_exclusive and (asked.max_tokens or 0) <= able.thinking_min:
        return None
    near = [
        effort for effort in able.efforts if effort in _EFFORTS and (effort == "none") is (wanted == "none")
    ]
    place = _EFFORTS.index(wanted)
    return min(near, key=lambda effort: abs(_EFFORTS.index(effort) - place), default=None)


def _person(asked: MessagesRequest, model: Model) -> str | None:
    """Who asks, told to OpenAI alone and as a digest: what clients send is longer than it takes."""
    user_id = asked.metadata.user_id if asked.metadata is not None else None
    if not user_id or model.provider != _OPENAI:
        return None
    return hashlib.sha256(user_id.encode(errors="surrogatepass")).hexdigest()


def _dotted(text: str) -> str:
    """A complaint about a path in the way that Anthropic writes paths."""
    reason, found, path = text.partition(" - at `$")
    if not found:
        return text
    return f"{path.rstrip('`').strip('.').replace('[', '.').replace(']', '')}: {reason}"
