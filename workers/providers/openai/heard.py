"""Owns what of a chat answer's choices is output: content, refusals, reasoning and arguments, heard for an estimate."""

import msgspec
from msgspec import Raw, Struct

from schemas.json import UNREADABLE
from workers.answers.said import Said


class _Function(Struct):
    arguments: str | None = None


class _Custom(Struct):
    input: str | None = None


class _ToolCall(Struct):
    function: _Function | None = None
    custom: _Custom | None = None


class _Said(Struct):
    """What a delta or a message holds of billed output."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(Struct):
    delta: _Said | None = None
    message: _Said | None = None
    text: str | None = None


_decode_choices = msgspec.json.Decoder(list[_Choice]).decode


def hear(choices: Raw, heard: Said) -> None:
    """Content, reasoning and arguments in raw choices."""
    try:
        decoded = _decode_choices(choices)
    except UNREADABLE:
        heard.add(
            bytes(choices).decode(errors="replace")
        )  # an unknown shape: it says no more than it is long
        return
    for choice in decoded:
        said = choice.delta or choice.message
        if said is not None:
            _hear_one(said, heard)
        elif choice.text:
            heard.add(choice.text)


def _hear_one(said: _Said, heard: Said) -> None:
    if said.content:
        heard.add(said.content)
    if said.refusal:
        heard.add(said.refusal)
    if reasoning := said.reasoning_content or said.reasoning:
        heard.add(reasoning)
    if said.function_call is not None and said.function_call.arguments:
        heard.add(said.function_call.arguments)
    if not said.tool_calls:
        return
    for call in said.tool_calls:
        if call.function is not None and call.function.arguments:
            heard.add(call.function.arguments)
        elif call.custom is not None and call.custom.input:
            heard.add(call.custom.input)
