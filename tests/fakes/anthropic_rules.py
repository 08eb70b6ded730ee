"""Owns what the Messages API accepts: the official SDK's own types, and the refusals that types cannot say."""

import functools
import json
import re
from collections.abc import Iterator
from typing import Any, get_type_hints

import pydantic

from schemas.catalogue.model import Capabilities
from tests.fakes.claude_schemas import SubsetError, check_subset

# The SDK's types are those of a later version of the API, which has no sampling parameters any more.
_SAMPLING = {"temperature": (0, 1), "top_p": (0, 1), "top_k": (0, 10**6)}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_IMAGES = {"image/jpeg", "image/png", "image/gif", "image/webp"}


class RefusalError(Exception):
    """What the API would answer with a 400."""


@functools.cache
def _adapter(*, stream: bool) -> tuple[pydantic.TypeAdapter[Any], set[str]]:
    """What checks a request that asks for a stream or for a whole answer, and the names of all its fields."""
    from anthropic.types import message_create_params as params  # noqa: PLC0415  two seconds for who never asks

    kind = params.MessageCreateParamsStreaming if stream else params.MessageCreateParamsNonStreaming
    names = get_type_hints(params.MessageCreateParamsStreaming)
    return pydantic.TypeAdapter(kind), set(names) | set(_SAMPLING)


def check(raw: bytes, able: Capabilities) -> dict[str, Any]:
    """A request's body. Raises RefusalError with the words of the refusal."""
    try:
        body = json.loads(raw)
    except ValueError:
        raise RefusalError("The request body is not valid JSON") from None
    need(isinstance(body, dict), "body: Input should be an object")
    adapter, keys = _adapter(stream=bool(body.get("stream")))
    for key in body:
        need(key in keys, f"{key}: Extra inputs are not permitted")
    try:
        _drain(adapter.validate_python(body))
    except pydantic.ValidationError as fault:
        first = fault.errors()[0]
        raise RefusalError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    need(body["max_tokens"] >= 1, "max_tokens: must be greater than or equal to 1")
    _check_turns(body, able)
    _check_tools(body, able)
    _check_sampling(body, able)
    _check_thinking(body, able)
    _check_cache(body)
    return body


def need(condition: object, message: str) -> None:
    """Raises RefusalError unless a condition holds."""
    if not condition:
        raise RefusalError(message)


def _drain(value: Any) -> None:
    # pydantic checks the items of an Iterable only when they are asked for.
    if isinstance(value, dict):
        for inner in value.values():
            _drain(inner)
    elif isinstance(value, list | tuple | Iterator) or type(value).__name__ == "ValidatorIterator":
        for inner in value:
            _drain(inner)


def _blocks(turn: dict[str, Any]) -> list[dict[str, Any]]:
    content = turn["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _check_turns(body: dict[str, Any], able: Capabilities) -> None:
    turns = body["messages"]
    need(turns, "messages: at least one message is required")
    need(turns[0]["role"] == "user", "messages: first message must use the user role")
    system = body.get("system")
    for text in [system] if isinstance(system, str) else [block["text"] for block in system or ()]:
        need(
            text.strip() or (text == "" and isinstance(system, str)),
            "system: text must contain non-whitespace text",
        )
    open_calls: set[str] = set()
    all_calls: set[str] = set()
    for index, turn in enumerate(turns):
        blocks = _blocks(turn)
        need(blocks or turn["role"] == "assistant", f"messages.{index}: content must not be empty")
        _check_texts(blocks, index)
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        need(len(results) == len(set(results)), "each tool_use must have a single result")
        need(
            set(results) == open_calls,
            f"messages.{index}: `tool_use` ids and `tool_result` blocks do not match",
        )
        kinds = [block["type"] == "tool_result" for block in blocks]
        need(kinds == sorted(kinds, reverse=True), f"messages.{index}: tool results must come first")
        calls = [block for block in blocks if block["type"] == "tool_use"]
        need(not calls or turn["role"] == "assistant", f"messages.{index}: tool_use is the assistant's")
        open_calls = {call["id"] for call in calls}
        unique = len(open_calls) == len(calls) and not open_calls & all_calls
        need(unique, f"messages.{index}: `tool_use` ids must be unique")
        all_calls |= open_calls
        for call in calls:
            need(
                _NAME.fullmatch(call["id"]) and _NAME.fullmatch(call["name"]),
                "tool_use: id and name by pattern",
            )
        need(not (results or calls) or body.get("tools"), "requests with tool blocks must define tools")
        for block in blocks:
            if block["type"] == "image" and block["source"]["type"] == "base64":
                need(block["source"]["media_type"] in _IMAGES, "image: media_type")
    need(not open_calls, "`tool_use` ids were found without `tool_result` blocks immediately after")
    if turns[-1]["role"] == "assistant":
        need(
            able.prefill,
            "This model does not support assistant message prefill: the conversation must end with a user message.",
        )
        last = _blocks(turns[-1])[-1:]
        trailing = last and last[0]["type"] == "text" and last[0]["text"] != last[0]["text"].rstrip()
        need(not trailing, "messages: final assistant content cannot end with trailing whitespace")


def _check_texts(blocks: list[dict[str, Any]], index: int) -> None:
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    need(all(texts), f"messages.{index}: text content blocks must be non-empty")
    need(
        not texts or any(text.strip() for text in texts),
        f"messages.{index}: text must contain non-whitespace text",
    )


def _check_tools(body: dict[str, Any], able: Capabilities) -> None:
    tools = body.get("tools") or []
    names = [tool["name"] for tool in tools]
    need(len(names) == len(set(names)), "tools: Tool names must be unique.")
    for tool in tools:
        need(_NAME.fullmatch(tool["name"]), "tools.name: String should match pattern")
        need(tool["input_schema"].get("type") == "object", "tools.input_schema.type: Field required")
        if tool.get("strict"):
            _check_closed(tool["input_schema"])
    choice = body.get("tool_choice")
    if choice is None:
        return
    need(tools, "tool_choice: may only be specified while providing tools.")
    extra = set(choice) - {"type", "name", "disable_parallel_tool_use"}
    need(not extra, "tool_choice: Extra inputs are not permitted")
    need(
        choice["type"] != "none" or "disable_parallel_tool_use" not in choice,
        "tool_choice.none: Extra inputs",
    )
    need(choice["type"] != "tool" or choice["name"] in names, "tool_choice: Tool not found in provided tools")
    need(
        choice["type"] in ("auto", "none") or able.forced_tools, "tool_choice: forced tools are not supported"
    )


def _check_sampling(body: dict[str, Any], able: Capabilities) -> None:
    for name, (low, high) in _SAMPLING.items():
        number = body.get(name, low)
        need(type(number) in (int, float) and low <= number <= high, f"{name}: range: {low}..{high}")
    both = "temperature" in body and "top_p" in body
    need(not both or able.temperature_with_top_p, "`temperature` and `top_p` cannot both be specified")
    need(able.sampling or body.get("temperature", 1) == 1, "temperature: not supported by this model")
    need(able.sampling or not {"top_p", "top_k"} & set(body), "top_p, top_k: not supported by this model")
    for stop in body.get("stop_sequences") or ():
        need(stop.strip(), "stop_sequences: each stop sequence must contain non-whitespace")
    person = (body.get("metadata") or {}).get("user_id") or ""
    need("@" not in person and len(person) <= 256, "metadata.user_id: appears to contain an email address")


def _check_thinking(body: dict[str, Any], able: Capabilities) -> None:
    thinking = body.get("thinking") or {"type": "disabled"}
    output = body.get("output_config") or {}
    need(
        not output.get("effort") or able.thinking == "effort",
        "output_config.effort: not supported by this model",
    )
    if output.get("format"):
        need(not able.json_by_tool, "output_config.format: not supported by this model")
        _check_closed(output["format"]["schema"])
    need(thinking["type"] != "adaptive" or able.thinking == "effort", "thinking.adaptive: not supported")
    off = body.get("thinking", {}).get("type") in ("disabled", "between_tools")
    need(
        not off or ("none" in able.efforts and thinking["type"] == able.thinking_off),
        f"thinking.{thinking['type']}: not supported by this model",
    )
    if thinking["type"] != "enabled":
        return
    need(able.thinking == "budget", "thinking.enabled: not supported by this model")
    need(thinking["budget_tokens"] >= 1024, "thinking.enabled.budget_tokens: at least 1024")
    need(
        thinking["budget_tokens"] < body["max_tokens"],
        "`max_tokens` must be greater than `thinking.budget_tokens`",
    )
    need(
        "temperature" not in body and "top_k" not in body, "`temperature` may only be set to 1 when thinking"
    )
    need(
        (body.get("tool_choice") or {"type": "auto"})["type"] in ("auto", "none"),
        "Thinking may not be enabled when tool_choice forces tool use.",
    )
    need(
        body["messages"][-1]["role"] == "user", "a final assistant message may not be prefilled with thinking"
    )
    running: list[dict[str, Any]] = []
    for turn in reversed(body["messages"]):
        kinds = {block["type"] for block in _blocks(turn)}
        if turn["role"] == "user" and "tool_result" not in kinds:
            break
        running.append(turn)
    calls = [turn for turn in running if turn["role"] == "assistant"]
    need(not calls, "Expected `thinking` or `redacted_thinking`, but found `tool_use`.")


def _check_closed(schema: Any) -> None:
    try:
        check_subset(schema)
    except SubsetError as fault:
        raise RefusalError(f"output_config.format.schema: {fault}") from None


def _check_cache(body: dict[str, Any]) -> None:
    blocks = [body, *(body.get("tools") or ())]
    if not isinstance(body.get("system"), str):
        blocks += body.get("system") or ()
    for turn in body["messages"]:
        blocks += _blocks(turn)
    need(
        sum("cache_control" in block for block in blocks) <= 4,
        "A maximum of 4 blocks with cache_control may be provided.",
    )
