"""Owns one question in each dialect of callers: its path, its body, and how a stream of that dialect ends well."""

from typing import Any

CHAT, COMPLETIONS, RESPONSES, MESSAGES, EMBEDDINGS = (
    "chat",
    "completions",
    "responses",
    "messages",
    "embeddings",
)
PATHS = {
    CHAT: "/v1/chat/completions",
    COMPLETIONS: "/v1/completions",
    RESPONSES: "/v1/responses",
    MESSAGES: "/v1/messages",
    EMBEDDINGS: "/v1/embeddings",
}
TALKING = (CHAT, RESPONSES, MESSAGES)  # those with turns, reasoning and tools
STREAMED = (CHAT, COMPLETIONS, RESPONSES, MESSAGES)
LIMITS = {
    CHAT: "max_completion_tokens",
    COMPLETIONS: "max_tokens",
    RESPONSES: "max_output_tokens",
    MESSAGES: "max_tokens",
}
_SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}}
TOOL = "look"


def question(
    dialect: str, model: str, text: str, *, stream: bool = False, limit: int | None = 400, tools: bool = False
) -> dict[str, Any]:
    """A body that asks a model one thing. Embeddings have neither streams nor a limit."""
    body: dict[str, Any] = {"model": model}
    if dialect == EMBEDDINGS:
        return body | {"input": text}
    body["stream"] = stream
    if limit is not None:
        body[LIMITS[dialect]] = limit
    if dialect == COMPLETIONS:
        return body | {"prompt": text}
    if dialect == RESPONSES:
        body["input"] = text
    else:
        body["messages"] = [{"role": "user", "content": text}]
    if tools:
        body["tools"] = [_tool(dialect)]
    return body


def _tool(dialect: str) -> dict[str, Any]:
    if dialect == MESSAGES:
        return {"name": TOOL, "input_schema": _SCHEMA}
    function = {"name": TOOL, "parameters": _SCHEMA}
    return (
        {"type": "function", **function}
        if dialect == RESPONSES
        else {"type": "function", "function": function}
    )
