"""Owns what the real Gemini API refuses: shapes by its own SDK's types, and the rules that the types do not say."""

import functools
import json
import re
import warnings
from typing import Any

import pydantic

from schemas.catalogue.model import Capabilities

Json = dict[str, Any]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_VERTEX_ONLY = ("audioTimestamp", "routingConfig", "modelSelectionConfig", "enableEnhancedCivicAnswers")
_DATA_FIELDS = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_MIMES = re.compile(
    r"image/(png|jpeg|webp|heic|heif)|audio/(wav|mp3|mpeg|aiff|aac|ogg|flac)|application/(pdf|json)"
    r"|text/(plain|html|csv|md|xml|markdown|css)|video/(mp4|mpeg|webm)"
)


class RefusalError(Exception):
    """A 400 INVALID_ARGUMENT with the API's own kind of message."""


@functools.cache
def _request() -> type[pydantic.BaseModel]:
    """The REST body, made of the SDK's types: like them, it forbids what it does not know."""
    from google.genai import types  # noqa: PLC0415  two seconds for who never asks

    class GenerateContentRequest(types._common.BaseModel):
        contents: list[types.Content]
        system_instruction: types.Content | None = None
        tools: list[types.Tool] | None = None
        tool_config: types.ToolConfig | None = None
        generation_config: types.GenerationConfig | None = None
        safety_settings: list[types.SafetySetting] | None = None
        service_tier: types.ServiceTier | None = None
        cached_content: str | None = None
        continuation_token: bytes | None = None

    return GenerateContentRequest


def check(raw: bytes, able: Capabilities) -> Json:
    """The decoded body of a request that the API would take. Raises RefusalError."""
    request = _request()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error"
            )  # the SDK only warns of an enum's unknown value; the API refuses it
            request.model_validate_json(raw)
    except (pydantic.ValidationError, UserWarning) as problem:
        raise RefusalError(f"Invalid JSON payload received. {problem}") from None
    body: Json = json.loads(raw)
    if not body["contents"]:
        raise RefusalError("* GenerateContentRequest.contents: contents is not specified")
    for index, content in enumerate(body["contents"]):
        _check_content(content, index)
    if (system := body.get("systemInstruction")) is not None and not all(
        p.get("text") for p in system["parts"]
    ):
        raise RefusalError("system_instruction: only text is supported")
    _check_turns(body["contents"])
    if able.signatures:
        _check_signatures(body["contents"])
    names = _check_tools(body.get("tools"))
    _check_choice(body.get("toolConfig"), names)
    config = body.get("generationConfig") or {}
    _check_numbers(config, able)
    _check_thinking(config.get("thinkingConfig") or {}, able)
    _check_format(config, able, with_tools=bool(names))
    return body


def _check_content(content: Json, index: int) -> None:
    if content.get("role") not in ("user", "model"):
        raise RefusalError("Please use a valid role: user, model.")
    if not content.get("parts"):
        raise RefusalError(
            f"* GenerateContentRequest.contents[{index}].parts: contents.parts must not be empty."
        )
    for k, part in enumerate(content["parts"]):
        where = f"GenerateContentRequest.contents[{index}].parts[{k}]"
        kinds = [name for name in _DATA_FIELDS if name in part]
        if len(kinds) != 1:
            raise RefusalError(f"* {where}.data: required oneof field 'data' must have one initialized field")
        value = part[kinds[0]]
        match kinds[0]:
            case "text" if not value:
                raise RefusalError(
                    f"* {where}: Unable to submit request because it must have a text parameter."
                )
            case "inlineData" if not _MIMES.fullmatch(value.get("mimeType", "")):
                raise RefusalError(f"Unsupported MIME type: {value.get('mimeType')}")
            case "inlineData" if not value.get("data"):
                raise RefusalError(f"* {where}.inline_data: data must not be empty.")
            case "fileData":
                raise RefusalError("Cannot fetch content from the provided URL.")
            case "functionCall" | "functionResponse" if not value.get("name"):
                raise RefusalError(f"* {where}.{kinds[0]}.name: Name cannot be empty.")
            case "functionResponse" if _refers(value.get("response")):
                raise RefusalError(f"* {where}.function_response.response: reference cannot be resolved.")


def _refers(value: Any) -> bool:
    if isinstance(value, dict):
        return "$ref" in value or any(map(_refers, value.values()))
    return isinstance(value, list) and any(map(_refers, value))


def _named(content: Json, kind: str) -> list[Json]:
    return [part[kind] for part in content["parts"] if kind in part]


def _check_turns(contents: list[Json]) -> None:
    if contents[0]["role"] != "user":
        raise RefusalError("Please ensure that multiturn requests start with a user turn.")
    if contents[-1]["role"] != "user":
        raise RefusalError(
            "Please ensure that multiturn requests end with a user turn or a function response."
        )
    for before, after in zip([None, *contents], contents, strict=False):
        calls = _named(before, "functionCall") if before else []
        results = _named(after, "functionResponse")
        if results and not calls:
            raise RefusalError(
                "Please ensure that function response turn comes immediately after a function call turn."
            )
        if len(calls) != len(results):
            raise RefusalError(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        if sorted(call["name"] for call in calls) != sorted(result["name"] for result in results):
            raise RefusalError("Function response name does not match the function call.")
        if {call["id"] for call in calls if "id" in call} != {one["id"] for one in results if "id" in one}:
            raise RefusalError("Function response id does not match the function call.")
        if _named(after, "functionCall") and (before is None or before["role"] != "user"):
            raise RefusalError(
                "Please ensure that function call turn comes immediately after a user turn or after a function "
                "response turn."
            )


def _check_signatures(contents: list[Json]) -> None:
    """The first call of each step since the user last spoke needs its signature."""
    for position in range(len(contents) - 1, -1, -1):
        content = contents[position]
        if content["role"] == "user":
            if any("functionResponse" not in part for part in content["parts"]):
                return
            continue
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):
            name = calls[0]["functionCall"]["name"]
            raise RefusalError(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                f"work correctly. Additional data, function call `default_api:{name}`, position {position + 1}."
            )


def _check_tools(tools: list[Json] | None) -> set[str]:
    names: set[str] = set()
    for tool in tools or ():
        declarations = tool.get("functionDeclarations")
        if not declarations:
            raise RefusalError("* GenerateContentRequest.tools: one tool_type must be set.")
        for declared in declarations:
            name = declared.get("name", "")
            if not _NAME.fullmatch(name):
                raise RefusalError(f"* function_declarations.name: Invalid function name {name!r}.")
            if name in names:
                raise RefusalError(f"Duplicate function declaration found: {name}")
            if "parameters" in declared and "parametersJsonSchema" in declared:
                raise RefusalError("parameters and parameters_json_schema are mutually exclusive.")
            if not isinstance(declared.get("parametersJsonSchema", {}), dict):
                raise RefusalError("parameters_json_schema must be an object.")
            names.add(name)
    return names


def _check_choice(config: Json | None, names: set[str]) -> None:
    calling = (config or {}).get("functionCallingConfig")
    if calling is None:
        return
    if not names:
        raise RefusalError("Function calling config is set without function_declarations.")
    allowed = calling.get("allowedFunctionNames")
    if allowed is None:
        return
    if calling.get("mode") not in ("ANY", "VALIDATED"):
        raise RefusalError(
            "Allowed function names are set while function calling mode is not ANY or VALIDATED."
        )
    if not allowed or not set(allowed) <= names:
        raise RefusalError("allowed_function_names must be declared functions.")


def _check_numbers(config: Json, able: Capabilities) -> None:
    for name in _VERTEX_ONLY:
        if name in config:
            raise RefusalError(f"{name} is not supported in the Gemini API.")
    for name, least, most in (
        ("temperature", 0, 2),
        ("topP", 0, 1),
        ("topK", 1, 1000),
        ("presencePenalty", -2, 2),
        ("frequencyPenalty", -2, 2),
        ("candidateCount", 1, able.n_max),
        ("maxOutputTokens", 1, 2**31 - 1),
        ("seed", -(2**31), 2**31 - 1),
        ("logprobs", 0, 20),
    ):
        value = config.get(name)
        if value is not None and not least <= value <= most:
            raise RefusalError(f"* GenerateContentRequest.generation_config.{name}: {value} is out of range.")
    stops = config.get("stopSequences", [])
    if len(stops) > able.stop_max or not all(stops):
        raise RefusalError("* GenerateContentRequest.generation_config.stop_sequences: invalid.")
    if config.get("responseLogprobs") and not able.logprobs:
        raise RefusalError("Logprobs is not enabled for this model.")
    if "logprobs" in config and not config.get("responseLogprobs"):
        raise RefusalError("logprobs needs response_logprobs.")
    if not able.sampling and any(name in config for name in ("temperature", "topP", "topK")):
        raise RefusalError("Sampling parameters are not supported by this model.")


def _check_thinking(config: Json, able: Capabilities) -> None:
    if "thinkingLevel" in config and "thinkingBudget" in config:
        raise RefusalError("You can only set only one of thinking budget and thinking level.")
    if "thinkingLevel" in config:
        if able.thinking != "level" or config["thinkingLevel"].lower() not in able.efforts:
            raise RefusalError(f"Thinking level {config['thinkingLevel']} is not supported for this model.")
    elif "thinkingBudget" in config:
        budget = config["thinkingBudget"]
        off = budget == 0 and "none" in able.efforts
        if able.thinking != "budget" or not (off or able.thinking_min <= budget <= able.thinking_max):
            raise RefusalError(f"The thinking budget {budget} is invalid.")


def _check_format(config: Json, able: Capabilities, *, with_tools: bool) -> None:
    if "responseSchema" in config and "responseJsonSchema" in config:
        raise RefusalError("response_schema and response_json_schema are mutually exclusive.")
    is_json = config.get("responseMimeType") == "application/json"
    if ("responseSchema" in config or "responseJsonSchema" in config) and not is_json:
        raise RefusalError("A response schema needs the response mime type 'application/json'.")
    if is_json and with_tools and not able.json_with_tools:
        raise RefusalError("Function calling with a response mime type: 'application/json' is unsupported")
