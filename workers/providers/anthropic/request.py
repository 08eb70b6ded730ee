"""Owns what a chat request becomes on its way to Anthropic: the body of one Messages call."""

import hashlib
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.bus.frames import Job
from schemas.catalogue.model import Capabilities, Model
from schemas.chat.priced import RequestError
from schemas.chat.request import ChatRequest, Function, JsonSchema, Tool
from schemas.chat.toolsets import absent, choice_names
from schemas.errors import invalid
from schemas.json import UNREADABLE
from workers.providers.anthropic.messages import Conversation, Json, cache_control
from workers.providers.base import RefusedError
from workers.providers.claude_json import JSON_INSTRUCTION, OpenSchemaError, closed, instruction

BUDGET_TOKENS: Final = {"low": 1_024, "medium": 2_048, "high": 4_096, "xhigh": 8_192, "max": 16_384}
_SERVICE_TIERS: Final = {"auto": "auto", "default": "standard_only"}
_NO_PARAMETERS: Final = Raw(b'{"type":"object","properties":{}}')
_OBJECT: Final = Raw(b'"object"')
_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class Built(Struct, frozen=True):
    """The body of a call, and the tool whose input is the answer itself ("" for none)."""

    body: bytes
    answer_tool: str


def build(request: ChatRequest, job: Job, model: Model) -> Built:
    """The body of a Messages call. Raises RefusedError for what the API has no words for."""
    able = model.capabilities
    body: Json = {"model": job.upstream, "max_tokens": job.limit, "stream": job.stream}
    answer_tool, told = _put_format(body, request, able)
    if not answer_tool:
        _put_tools(body, request, able)
    conversation = Conversation(request.messages, able, tools_sent="tools" in body)
    if not conversation.turns:
        raise RefusedError(invalid("`messages` has no text or other content.", param="messages"))
    body["messages"] = conversation.turns
    _put_system(body, conversation.system, told)
    _put_sampling(body, request, able)
    _put_thinking(body, request, job, able, calls_running=conversation.calls_running)
    stops = [request.stop] if isinstance(request.stop, str) else request.stop
    if stops:
        body["stop_sequences"] = stops
    if person := request.safety_identifier or request.user:
        # Opaque by contract: e-mail addresses and phone numbers are refused.
        digest = hashlib.sha256(person.encode(errors="surrogatepass")).hexdigest()
        body["metadata"] = {"user_id": digest[:32]}
    if request.service_tier in _SERVICE_TIERS:
        body["service_tier"] = _SERVICE_TIERS[request.service_tier]
    if request.cache_control is not None and able.cache_points:
        body["cache_control"] = cache_control(request.cache_control)
    return Built(_encode(body), answer_tool)


def _put_system(body: Json, system: list[Json], told: str) -> None:
    if told:
        system = [*system, {"type": "text", "text": told}]
    if any("cache_control" in block for block in system):
        body["system"] = system
    elif system:
        body["system"] = "\n".join(block["text"] for block in system)


def _put_format(body: Json, request: ChatRequest, able: Capabilities) -> tuple[str, str]:
    """The tool that is the answer itself, and what must be told of the answer's form in words; "" for none."""
    wanted = request.response_format
    if wanted is not None and wanted.type == "json_object":
        return "", JSON_INSTRUCTION
    if wanted is None or wanted.json_schema is None or wanted.type != "json_schema":
        return "", ""
    asked = wanted.json_schema
    if not able.json_by_tool:
        try:
            body["output_config"] = {"format": {"type": "json_schema", "schema": _answer_schema(asked)}}
        except OpenSchemaError:
            return "", instruction(bytes(asked.schema))
        return "", ""
    description = asked.description or "Gives the answer."
    tool = {"name": asked.name, "description": description, "input_schema": _schema(asked.schema)}
    body["tools"] = [tool]
    body["tool_choice"] = {"type": "tool", "name": asked.name, "disable_parallel_tool_use": True}
    return asked.name, ""


def _put_tools(body: Json, request: ChatRequest, able: Capabilities) -> None:
    tools = request.tools or []
    choice: Json | None = None
    if isinstance(request.tool_choice, dict):
        try:
            mode, names = choice_names(request.tool_choice)
        except RequestError as refused:
            raise RefusedError(refused.error) from None
        if request.tool_choice.get("type") == "allowed_tools":
            tools = [tool for tool in tools if tool.function is not None and tool.function.name in names]
            choice = {"type": "any" if mode == "required" else "auto"}
        else:
            choice = {"type": "tool", "name": names[0]}
    elif request.tool_choice is not None:
        choice = {"type": {"required": "any"}.get(request.tool_choice, request.tool_choice)}
    mapped = [_tool(tool, tool.function, able) for tool in tools if tool.function is not None]
    if not mapped:
        return
    body["tools"] = mapped
    if request.parallel_tool_calls is False and (choice is None or choice["type"] != "none"):
        choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": True}
    if choice is not None:
        body["tool_choice"] = choice


def _tool(tool: Tool, function: Function, able: Capabilities) -> Json:
    mapped: Json = {"name": function.name}
    if function.description:
        mapped["description"] = function.description
    mapped["input_schema"] = _schema(function.parameters)
    if function.strict and able.strict_tools and (subset := _strict(function.parameters)) is not None:
        mapped |= {"input_schema": subset, "strict": True}
    if tool.cache_control is not None and able.cache_points:
        mapped["cache_control"] = cache_control(tool.cache_control)
    return mapped


def _schema(raw: Raw) -> Raw | dict[str, Raw]:
    """A schema as the caller wrote it, in its order; only a type that was left out is added."""
    if absent(raw):
        return _NO_PARAMETERS
    fields = _decode_fields(raw)
    return raw if "type" in fields else {"type": _OBJECT, **fields}


def _strict(raw: Raw) -> Any:
    """The schema of a strict tool in the subset that answers have; None where it is as strong a hint as can be."""
    try:
        return closed(msgspec.json.decode(_encode(_schema(raw))))
    except (OpenSchemaError, *UNREADABLE):
        return None


def _answer_schema(asked: JsonSchema) -> Any:
    try:
        return closed(msgspec.json.decode(asked.schema))
    except UNREADABLE:
        param = "response_format.json_schema.schema"
        raise RefusedError(
            invalid("The schema cannot be read.", param=param, code="invalid_json_schema")
        ) from None


def _put_sampling(body: Json, request: ChatRequest, able: Capabilities) -> None:
    # 1 is the API's own default of both, and newer models refuse even that for top_p.
    if not able.sampling:
        return
    if request.temperature is not None and request.temperature < 1:
        body["temperature"] = request.temperature
    if request.top_p is not None and request.top_p != 1:
        body["top_p"] = request.top_p
    if request.top_k is not None and able.top_k:
        body["top_k"] = request.top_k


def _put_thinking(
    body: Json, request: ChatRequest, job: Job, able: Capabilities, *, calls_running: bool
) -> None:
    """Reasoning as the row's `thinking` says.

    A budget demands the reasoning behind the calls of the running turn back, which OpenAI's shape cannot carry, and
    nothing may be invented: within such a turn the model goes on without. Efforts demand nothing.
    """
    effort = request.reasoning_effort
    if effort is None or not able.thinking:
        return
    if effort == "none":
        body["thinking"] = {"type": able.thinking_off}
    elif able.thinking == "effort":
        # The provider leaves its reasoning's text out unless told otherwise, and bills it all the same.
        body["thinking"] = {"type": "adaptive", "display": "summarized"}
        body.setdefault("output_config", {})["effort"] = "low" if effort == "minimal" else effort
    elif not calls_running and job.limit > able.thinking_min:
        asked = min(BUDGET_TOKENS.get(effort, able.thinking_min), able.thinking_max)
        budget = max(able.thinking_min, min(asked, job.limit - 1))
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
