"""Owns what a chat request becomes on its way to Converse: its settings and tools around the conversation."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.catalogue import Capabilities, Model
from schemas.chat import NO_JSON, ChatRequest, Function, JsonSchema
from schemas.errors import invalid, unsupported_parameter
from schemas.wire import Job
from workers.providers.base import RefusedError
from workers.providers.bedrock_messages import Conversation, Json, cache_point

# What reasoning_effort means to a model that wants a number of tokens.
BUDGET_TOKENS: Final = {
    "minimal": 1024,
    "low": 1024,
    "medium": 2048,
    "high": 4096,
    "xhigh": 8192,
    "max": 16384,
}
METADATA_MAX: Final = 16

_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}", re.ASCII)
_NO_PARAMETERS: Final = Raw(b'{"type":"object","properties":{}}')
_NULL: Final = b"null"
_object_decode: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def build(request: ChatRequest, job: Job, model: Model, thoughts: Mapping[str, str]) -> bytes:
    """The body of a Converse call, plain or streamed. Raises RefusedError for what Converse has no words for."""
    able = model.capabilities
    tools = _tools(request)
    said = Conversation(
        request, tools_sent=tools is not None, cache_points=able.cache_points, thoughts=thoughts
    )
    body: Json = {"messages": said.turns, "inferenceConfig": _inference(request, job, able)}
    extra: Json = {}
    output: Json = {}
    if said.system:
        body["system"] = said.system
    if tools is not None:
        _add_cache_points(request, tools, able.cache_points - said.cache_points_used)
        body["toolConfig"] = tools
        if request.parallel_tool_calls is False and able.serial_tools:
            extra["tool_choice"] = _serial(tools)
    form = request.response_format
    if form is not None and form.type == "json_schema" and form.json_schema is not None:
        output["textFormat"] = _text_format(form.json_schema)
    reasoning = _reasoning(request, job, able, replays_all=said.replays_all)
    if "effort" in reasoning:
        output["effort"] = reasoning.pop("effort")
    extra |= reasoning
    if output:
        body["outputConfig"] = output
    if extra:
        body["additionalModelRequestFields"] = extra
    if request.service_tier is not None and request.service_tier in able.service_tiers:
        body["serviceTier"] = {"type": request.service_tier}
    if metadata := _metadata(request.metadata):
        body["requestMetadata"] = metadata
    return _encode(body)


def stops(request: ChatRequest) -> list[str]:
    """The stop sequences that a model takes: those of white space alone are refused by it, and left out."""
    given = [request.stop] if isinstance(request.stop, str) else request.stop or []
    return [stop for stop in given if stop and not stop.isspace()]


def _inference(request: ChatRequest, job: Job, able: Capabilities) -> Json:
    config: Json = {"maxTokens": max(1, job.limit)}
    if able.sampling:
        # Defaults are left out: some models take one of the two only.
        if request.temperature is not None and request.temperature != 1:
            config["temperature"] = min(max(request.temperature, 0.0), 1.0)
        if request.top_p is not None and request.top_p != 1:
            config["topP"] = min(max(request.top_p, 0.0), 1.0)
    if sequences := stops(request):
        config["stopSequences"] = sequences
    return config


def _tools(request: ChatRequest) -> Json | None:
    """The toolConfig; None for no tools, and for the choice "none", which Converse does not have."""
    if request.functions or request.function_call is not None:
        raise RefusedError(
            unsupported_parameter(
                "functions", "This model takes `tools` and `tool_choice` instead of `functions`."
            )
        )
    choice = request.tool_choice
    if not request.tools or choice == "none":
        return None
    specs: list[Json] = []
    for index, tool in enumerate(request.tools):
        if tool.function is None:
            raise RefusedError(unsupported_parameter(f"tools.{index}", "This model has function tools only."))
        specs.append({"toolSpec": _tool_spec(tool.function, f"tools.{index}.function")})
    config: Json = {"tools": specs}
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or {}
        wanted = {_function_name(entry) for entry in allowed.get("tools") or ()}
        config["tools"] = [spec for spec in specs if spec["toolSpec"]["name"] in wanted]
        choice = "required" if allowed.get("mode") == "required" else "auto"
        if not config["tools"]:
            message = "`tool_choice.allowed_tools` names none of `tools`."
            raise RefusedError(invalid(message, param="tool_choice", code="invalid_value"))
    if choice == "required":
        config["toolChoice"] = {"any": {}}
    elif isinstance(choice, dict):
        name = _function_name(choice)
        if not any(spec["toolSpec"]["name"] == name for spec in specs):
            message = "`tool_choice` names a function that is not in `tools`."
            raise RefusedError(invalid(message, param="tool_choice", code="invalid_value"))
        config["toolChoice"] = {"tool": {"name": name}}
    return config


def _function_name(entry: Any) -> str:
    function = entry.get("function") if isinstance(entry, dict) else None
    return str(function.get("name", "")) if isinstance(function, dict) else ""


def _tool_spec(function: Function, path: str) -> Json:
    spec: Json = {"name": function.name, "inputSchema": {"json": _parameters(function.parameters, path)}}
    if function.description:
        spec["description"] = function.description
    if function.strict:
        spec["strict"] = True
    return spec


def _parameters(parameters: Raw, path: str) -> Raw | dict[str, Raw]:
    """A JSON Schema as the caller wrote it, in its order, with the type that the API insists on."""
    raw = bytes(parameters)
    if raw in (NO_JSON, _NULL):
        return _NO_PARAMETERS
    try:
        schema = _object_decode(raw)
    except msgspec.DecodeError:
        message = "The parameters of a function must be a JSON Schema of an object."
        raise RefusedError(
            invalid(message, param=f"{path}.parameters", code="invalid_function_parameters")
        ) from None
    return parameters if "type" in schema else {"type": Raw(b'"object"'), **schema}


def _add_cache_points(request: ChatRequest, tools: Json, left: int) -> None:
    controls = {
        tool.function.name: tool.cache_control
        for tool in request.tools or ()
        if tool.function is not None and tool.cache_control is not None
    }
    if not controls:
        return
    entries: list[Json] = []
    for entry in tools["tools"]:
        entries.append(entry)
        control = controls.get(entry["toolSpec"]["name"])
        if control is not None and left > 0:
            left -= 1
            entries.append(cache_point(control))
    tools["tools"] = entries


def _serial(tools: Json) -> Json:
    """Claude's own switch. Beside a toolChoice it must not name a type again; without one it must."""
    if "toolChoice" in tools:
        return {"disable_parallel_tool_use": True}
    return {"type": "auto", "disable_parallel_tool_use": True}


def _text_format(schema: JsonSchema) -> Json:
    """The schema travels as a JSON text."""
    raw = bytes(schema.schema)
    text = '{"type":"object"}' if raw in (NO_JSON, _NULL) else raw.decode()
    described: Json = {"schema": text, "name": schema.name}
    if schema.description:
        described["description"] = schema.description
    return {"type": "json_schema", "structure": {"jsonSchema": described}}


def _reasoning(request: ChatRequest, job: Job, able: Capabilities, *, replays_all: bool) -> Json:
    """The model's own fields for an effort, and `effort` where Converse has a field of its own."""
    effort = request.reasoning_effort
    if effort is None or effort not in able.efforts:
        return {}
    level = "low" if effort == "minimal" else effort
    match able.thinking:
        case "budget":
            # A running tool turn without its reasoning blocks is refused while thinking is on; so is a budget that
            # leaves no room for the answer.
            budget = min(BUDGET_TOKENS.get(effort, 0), able.thinking_max or job.limit - 1, job.limit - 1)
            if budget >= max(able.thinking_min, 1) and replays_all:
                return {"thinking": {"type": "enabled", "budget_tokens": budget}}
            return {}
        case "effort":
            if effort == "none":
                return {"thinking": {"type": "disabled"}}
            return {"thinking": {"type": "adaptive"}, "effort": level}
        case "level":
            if effort == "none":
                return {"reasoningConfig": {"type": "disabled"}}
            return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}
        case _:
            return {}


def _metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """The pairs that the API takes: others are of no use to the answer, and left out."""
    kept = {
        key: value
        for key, value in (metadata or {}).items()
        if key and _METADATA.fullmatch(key) and _METADATA.fullmatch(value)
    }
    return dict(list(kept.items())[:METADATA_MAX])
