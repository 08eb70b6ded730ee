"""Owns what a chat request becomes on its way to Converse: its settings and tools around the conversation."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.bus.frames import Job
from schemas.catalogue.bedrock import is_claude, is_nova
from schemas.catalogue.model import Capabilities, Model
from schemas.chat.request import ChatRequest, Function, JsonSchema
from schemas.chat.toolsets import absent, choice_names
from schemas.dialects.messages.request import MESSAGES
from schemas.errors import invalid
from schemas.json import UNREADABLE
from workers.providers.base import RefusedError
from workers.providers.bedrock.messages import Conversation, Json, cache_point
from workers.providers.claude_json import JSON_INSTRUCTION, OpenSchemaError, closed, instruction

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
_STOP_PATHS: Final = ("/stop_sequence",)

_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}", re.ASCII)
_NO_PARAMETERS: Final = Raw(b'{"type":"object","properties":{}}')
_object_decode: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def build(request: ChatRequest, job: Job, model: Model, thoughts: Mapping[str, str]) -> bytes:
    """The body of a Converse call, plain or streamed.

    Raises RefusedError or RequestError for what should have been refused before the hold.
    """
    able = model.capabilities
    tools = _tools(request, able)
    said = Conversation(
        request, tools_sent=tools is not None, cache_points=able.cache_points, thoughts=thoughts
    )
    body: Json = {"messages": said.turns, "inferenceConfig": _inference(request, job, able)}
    form = request.response_format
    if form is not None and form.type == "json_object":
        said.system.append({"text": JSON_INSTRUCTION})
    body["system"] = said.system
    if tools is not None:
        _add_cache_points(request, tools, able.cache_points - said.cache_points_used)
        body["toolConfig"] = tools
    extra = _model_fields(request, model, tools)
    output: Json = {}
    if form is not None and form.type == "json_schema" and form.json_schema is not None:
        if (text_format := _text_format(form.json_schema)) is not None:
            output["textFormat"] = text_format
        else:
            said.system.append({"text": instruction(bytes(form.json_schema.schema))})
    reasoning = _reasoning(request, job, able, replays_all=said.replays_all)
    if "effort" in reasoning:
        output["effort"] = reasoning.pop("effort")
    body["outputConfig"] = output
    body["additionalModelRequestFields"] = extra | reasoning
    if job.dialect == MESSAGES and is_claude(model.upstream) and "stopSequences" in body["inferenceConfig"]:
        body["additionalModelResponseFieldPaths"] = _STOP_PATHS  # Converse itself does not say which was met
    body["requestMetadata"] = _metadata(request.metadata)
    if request.service_tier is not None and request.service_tier in able.service_tiers:
        body["serviceTier"] = {"type": request.service_tier}
    return _encode({name: value for name, value in body.items() if value})


def _model_fields(request: ChatRequest, model: Model, tools: Json | None) -> Json:
    """What is the model's own, beside what Converse has for all."""
    able = model.capabilities
    fields: Json = {}
    if tools is not None and request.parallel_tool_calls is False and able.serial_tools:
        fields["tool_choice"] = _serial(tools)
    if request.top_k is not None and able.top_k:
        fields |= (
            {"inferenceConfig": {"topK": request.top_k}}
            if is_nova(model.upstream)
            else {"top_k": request.top_k}
        )
    return fields


def stops(request: ChatRequest) -> list[str]:
    """The stop sequences that a model takes: those of white space alone are refused by it, and left out."""
    given = [request.stop] if isinstance(request.stop, str) else request.stop or []
    return [stop for stop in given if stop and not stop.isspace()]


def sampling(request: ChatRequest) -> Json:
    """How freely to choose words. Defaults are left out: some models take one of the two only."""
    config: Json = {}
    if request.temperature is not None and request.temperature != 1:
        config["temperature"] = min(max(request.temperature, 0.0), 1.0)
    if request.top_p is not None and request.top_p != 1:
        config["topP"] = min(max(request.top_p, 0.0), 1.0)
    return config


def _inference(request: ChatRequest, job: Job, able: Capabilities) -> Json:
    config: Json = {"maxTokens": max(1, job.limit)}
    if able.sampling:
        config |= sampling(request)
    if sequences := stops(request):
        config["stopSequences"] = sequences
    return config


def _tools(request: ChatRequest, able: Capabilities) -> Json | None:
    """The toolConfig; None for no tools, and for the choice "none", which Converse does not have."""
    choice = request.tool_choice
    if not request.tools or choice == "none":
        return None
    specs = [_tool_spec(tool.function, able) for tool in request.tools if tool.function is not None]
    config: Json = {"tools": [{"toolSpec": spec} for spec in specs]}
    if isinstance(choice, dict):
        mode, names = choice_names(choice)
        if choice.get("type") == "function":
            config["toolChoice"] = {"tool": {"name": names[0]}}
            return config
        config["tools"] = [{"toolSpec": spec} for spec in specs if spec["name"] in names]
        choice = mode
    if choice == "required":
        config["toolChoice"] = {"any": {}}
    return config


def _tool_spec(function: Function, able: Capabilities) -> Json:
    spec: Json = {"name": function.name, "inputSchema": {"json": _parameters(function.parameters)}}
    if function.description:
        spec["description"] = function.description
    if function.strict and able.strict_tools and (subset := _strict(function.parameters)) is not None:
        spec |= {"inputSchema": {"json": subset}, "strict": True}
    return spec


def _parameters(parameters: Raw) -> Raw | dict[str, Raw]:
    """A JSON Schema as the caller wrote it, in its order, with the type that the API insists on."""
    if absent(parameters):
        return _NO_PARAMETERS
    schema = _object_decode(parameters)
    return parameters if "type" in schema else {"type": Raw(b'"object"'), **schema}


def _strict(parameters: Raw) -> Any:
    """The schema of a strict tool in the subset that answers have; None where it is as strong a hint as can be."""
    try:
        return closed(msgspec.json.decode(_encode(_parameters(parameters))))
    except (OpenSchemaError, *UNREADABLE):
        return None


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


def _text_format(schema: JsonSchema) -> Json | None:
    """The schema travels as a JSON text, in the subset that the models take; None for one that has to be told."""
    try:
        text = _encode(closed(msgspec.json.decode(schema.schema))).decode()
    except OpenSchemaError:
        return None
    except UNREADABLE:
        param = "response_format.json_schema.schema"
        error = invalid("The schema cannot be read.", param=param, code="invalid_json_schema")
        raise RefusedError(error) from None
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
                return {"thinking": {"type": able.thinking_off}}
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
