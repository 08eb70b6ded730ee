"""Owns the options of a generateContent call: tools, which of them may be called, limits, sampling and format."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.bus.frames import Job
from schemas.catalogue.model import Capabilities
from schemas.chat.request import COMPLETIONS, ChatRequest, Function
from schemas.chat.toolsets import absent, choice_names
from workers.providers.gemini.schemas import suited

Json = dict[str, Any]

# Budgets for families that want numbers; "minimal" is the model's floor.
EFFORT_TOKENS: Final = {"low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
_MODES: Final = {"none": "NONE", "auto": "AUTO", "required": "ANY"}
_SEED_BITS: Final = 0x7FFFFFFF
_SCHEMA_SHORT_BYTES: Final = 512  # a schema without properties is never longer


def put_tools(body: Json, request: ChatRequest) -> None:
    """Declares the request's functions, in the caller's order, and which of them may be called."""
    functions = [tool.function for tool in request.tools or () if tool.function is not None]
    if not functions:
        return
    mode, allowed = _choice(request)
    if allowed is not None and mode == "AUTO":
        functions = [function for function in functions if function.name in allowed]
        allowed = None
    body["tools"] = [{"functionDeclarations": [_declaration(function) for function in functions]}]
    if mode != "AUTO":
        config: Json = {"mode": mode}
        if allowed is not None:
            config["allowedFunctionNames"] = allowed
        body["toolConfig"] = {"functionCallingConfig": config}


def _declaration(function: Function) -> Json:
    declared: Json = {"name": function.name}
    if function.description:
        declared["description"] = function.description
    if _has_properties(function.parameters):
        declared["parametersJsonSchema"] = suited(function.parameters)
    return declared


def _has_properties(schema: Raw) -> bool:
    """Whether a schema is one: a function without arguments must have none at all."""
    raw = bytes(schema)
    if len(raw) > _SCHEMA_SHORT_BYTES:
        return True
    decoded = msgspec.json.decode(raw) if raw else None
    return bool(decoded) and (not isinstance(decoded, dict) or _says_more(decoded))


def _says_more(schema: Json) -> bool:
    return bool(schema.get("properties")) or not schema.keys() <= {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "$schema",
        "title",
        "description",
    }


def _choice(request: ChatRequest) -> tuple[str, list[str] | None]:
    """The calling mode, and the only names that may be called."""
    choice = request.tool_choice
    if not isinstance(choice, dict):
        return _MODES[choice or "auto"], None
    mode, names = choice_names(choice)
    return _MODES[mode], names


def generation_config(request: ChatRequest, job: Job, able: Capabilities) -> Json:
    """Limits, sampling and format; empty when the caller asked for nothing."""
    config: Json = {}
    asked = request.max_tokens is not None or request.max_completion_tokens is not None
    if asked or job.write_limit or job.dialect == COMPLETIONS:  # there an absent limit is a small one
        config["maxOutputTokens"] = job.limit
    if request.n is not None and request.n > 1:
        config["candidateCount"] = request.n
    if stops := [stop for stop in _stops(request) if stop]:
        config["stopSequences"] = stops
    if able.sampling:
        _put_sampling(config, request)
    if request.logprobs:
        config["responseLogprobs"] = True
        if request.top_logprobs:
            config["logprobs"] = request.top_logprobs
    _put_format(config, request)
    if thinking := _thinking(request.reasoning_effort, able):
        config["thinkingConfig"] = thinking
    return config


def _stops(request: ChatRequest) -> list[str]:
    stop = request.stop
    return [stop] if isinstance(stop, str) else stop or []


def _put_format(config: Json, request: ChatRequest) -> None:
    if (wanted := request.response_format) is not None and wanted.type != "text":
        config["responseMimeType"] = "application/json"
        if wanted.json_schema is not None and not absent(wanted.json_schema.schema):
            config["responseJsonSchema"] = suited(wanted.json_schema.schema)


def _put_sampling(config: Json, request: ChatRequest) -> None:
    for name, value in (
        ("temperature", request.temperature),
        ("topP", request.top_p),
        ("topK", request.top_k),
        ("presencePenalty", request.presence_penalty or None),
        ("frequencyPenalty", request.frequency_penalty or None),
    ):
        if value is not None:
            config[name] = value
    if request.seed is not None:
        # Gemini's seed has 31 bits: the same caller's seed always gives the same one.
        config["seed"] = request.seed & _SEED_BITS


def _thinking(effort: str | None, able: Capabilities) -> Json | None:
    if effort is None or not able.thinking:
        return None
    if able.thinking == "level":
        return {"thinkingLevel": effort.upper(), "includeThoughts": True}
    if effort == "none":
        return {"thinkingBudget": 0}
    asked = EFFORT_TOKENS.get(effort, 0)
    budget = max(able.thinking_min, min(asked, able.thinking_max))
    return {"thinkingBudget": budget, "includeThoughts": True}
