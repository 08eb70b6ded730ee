"""Owns what the sandbox reads of a request, and what it refuses, in OpenAI's words."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from schemas.errors import WireError, invalid, unsupported_parameter
from schemas.json import UNREADABLE

NOTHING = Raw(b"")
SCHEMA_BYTES_MAX = 32 * 1024  # a larger one is not looked at
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


class StreamOptions(Struct):
    """What a stream carries besides its content."""

    include_usage: bool = False


class Called(Struct):
    """A tool call of an earlier turn."""

    id: str = ""


class Message(Struct):
    """One message, as far as the sandbox looks."""

    role: str
    content: Any = None
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None


class Named(Struct):
    """A function, a custom tool or a schema, by its name."""

    name: str
    parameters: Raw = NOTHING
    schema: Raw = NOTHING


class Tool(Struct):
    """One entry of `tools`."""

    type: str
    function: Named | None = None
    custom: Named | None = None

    @property
    def name(self) -> str:
        """What the model calls it."""
        named = self.function or self.custom
        return named.name if named is not None else ""


class ResponseFormat(Struct):
    """text, json_object or json_schema."""

    type: str
    json_schema: Named | None = None


class Request(Struct, kw_only=True):
    """A chat or legacy completion request."""

    model: str
    messages: list[Message] | None = None
    prompt: Any = None
    n: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | int | None = None
    top_logprobs: int | None = None


def form(schema: Raw) -> Any:
    """What is to be filled in; anything where there is no schema, or one that is too large."""
    data = bytes(schema)
    return msgspec.json.decode(data) if 0 < len(data) <= SCHEMA_BYTES_MAX else {}


_decode = msgspec.json.Decoder(Request).decode


def read(body: bytes) -> Request | WireError:
    """A request, or the 400 for what is none or cannot be honoured."""
    try:
        request = _decode(body)
    except UNREADABLE as fault:
        return invalid(str(fault))
    for name, value in (("logprobs", request.logprobs), ("top_logprobs", request.top_logprobs)):
        if value not in (None, False):
            return unsupported_parameter(
                name, f"'{name}' is not supported by the sandbox: no model weighs its words."
            )
    return _check_messages(request.messages or []) or _check_tools(request) or request


def _check_messages(messages: list[Message]) -> WireError | None:
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if message.role not in _ROLES:
            text = f"Invalid value: '{message.role}'. Supported values are: {', '.join(map(repr, _ROLES))}."
            return invalid(text, param=f"{place}.role", code="invalid_value")
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                text = "A message with role 'tool' must answer a call of the message with 'tool_calls' before it."
                return invalid(text, param=f"{place}.role")
            open_calls.discard(message.tool_call_id)
        elif open_calls:
            return _unanswered(open_calls, place)
        if message.role == "assistant":
            open_calls = {call.id for call in message.tool_calls or ()}
    return _unanswered(open_calls, f"messages[{len(messages) - 1}]") if open_calls else None


def _unanswered(open_calls: set[str], place: str) -> WireError:
    ids = ", ".join(sorted(open_calls))[:200]
    text = f"Tool messages must follow an assistant message with 'tool_calls', one for each call. Missing: {ids}."
    return invalid(text, param=f"{place}.role")


def _check_tools(request: Request) -> WireError | None:
    tools = request.tools or []
    for index, tool in enumerate(tools):
        if not tool.name:
            return invalid(
                f"Missing required parameter: 'tools[{index}].function'.", param=f"tools[{index}].function"
            )
    chosen = request.tool_choice
    if chosen in (None, "none", "auto", "required"):
        if chosen == "required" and not tools:
            return invalid("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        return None
    if not forced(request):
        return invalid(
            "'tool_choice' names no function of 'tools'.", param="tool_choice", code="invalid_value"
        )
    return None


def forced(request: Request) -> list[Tool]:
    """The tools that `tool_choice` names, those of its list of allowed ones too; none if it names none."""
    chosen = request.tool_choice
    if not isinstance(chosen, dict):
        return []
    allowed = chosen.get("allowed_tools")
    entries = allowed.get("tools") if isinstance(allowed, dict) else [chosen]
    names = [_name(entry) for entry in entries] if isinstance(entries, list) else []
    return [tool for tool in request.tools or () if tool.name in names]


def _name(entry: Any) -> str:
    if not isinstance(entry, dict):
        return ""
    inner = entry.get("function") or entry.get("custom") or entry
    return str(inner.get("name", "")) if isinstance(inner, dict) else ""
