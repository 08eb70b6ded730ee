"""Owns conversations that another provider began, told in each dialect: what agents bring when they change the model."""

import json
from typing import Any, Final

from msgspec import Struct

Json = dict[str, Any]

PNG: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF: Final = "JVBERi0xLjQKMSAwIG9iago8PD4+CmVuZG9iagp0cmFpbGVyCjw8Pj4KJSVFT0YK"


class User(Struct, frozen=True):
    """What the user says."""

    text: str


class System(Struct, frozen=True):
    """Instructions, wherever they stand."""

    text: str


class Said(Struct, frozen=True):
    """What the model said."""

    text: str


class Call(Struct, frozen=True):
    """A tool call; `arguments` is the text that a model wrote."""

    id: str
    name: str
    arguments: str = '{"a":1}'


class Result(Struct, frozen=True):
    """What the caller's tool answered; `pictures` and `files` are base64."""

    id: str
    text: str = "fine"
    pictures: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class Thinking(Struct, frozen=True):
    """Reasoning with the proof that some provider gave."""

    proof: str


History = tuple[User | System | Said | Call | Result | Thinking, ...]


def tool_names(history: History) -> list[str]:
    """The tools that its calls name, each once."""
    return list(dict.fromkeys(turn.name for turn in history if isinstance(turn, Call)))


def chat(history: History) -> Json:
    """The body of a chat completion. Calls one after the other are one message's; reasoning has no place."""
    messages: list[Json] = []
    for turn in history:
        match turn:
            case User():
                messages.append({"role": "user", "content": turn.text})
            case System():
                messages.append({"role": "system", "content": turn.text})
            case Said():
                messages.append({"role": "assistant", "content": turn.text})
            case Call():
                if not messages or "tool_calls" not in messages[-1]:
                    messages.append({"role": "assistant", "content": None, "tool_calls": []})
                function = {"name": turn.name, "arguments": turn.arguments}
                messages[-1]["tool_calls"].append({"id": turn.id, "type": "function", "function": function})
            case Result():
                messages.append({"role": "tool", "tool_call_id": turn.id, "content": _chat_content(turn)})
    tools = [{"type": "function", "function": {"name": name}} for name in tool_names(history)]
    return {"model": "M", "messages": messages, "max_completion_tokens": 500} | (
        {"tools": tools} if tools else {}
    )


def _chat_content(result: Result) -> str | list[Json]:
    if not (result.pictures or result.files):
        return result.text
    made: list[Json] = [{"type": "text", "text": result.text}]
    made += [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{one}"}} for one in result.pictures
    ]
    return made + [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{one}"}}
        for one in result.files
    ]


def responses(history: History) -> Json:
    """The body of a response: one item for each."""
    items: list[Json] = []
    for turn in history:
        match turn:
            case User():
                items.append({"role": "user", "content": turn.text})
            case System():
                items.append({"role": "developer", "content": turn.text})
            case Said():
                part = {"type": "output_text", "text": turn.text, "annotations": []}
                items.append({"type": "message", "role": "assistant", "content": [part]})
            case Call():
                items.append(
                    {
                        "type": "function_call",
                        "call_id": turn.id,
                        "name": turn.name,
                        "arguments": turn.arguments,
                    }
                )
            case Result():
                output = _responses_output(turn)
                items.append({"type": "function_call_output", "call_id": turn.id, "output": output})
            case Thinking():
                items.append(
                    {
                        "type": "reasoning",
                        "id": f"rs_{len(items)}",
                        "summary": [],
                        "encrypted_content": turn.proof,
                    }
                )
    tools = [
        {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}}
        for name in tool_names(history)
    ]
    return {"model": "M", "input": items, "max_output_tokens": 500} | ({"tools": tools} if tools else {})


def _responses_output(result: Result) -> str | list[Json]:
    if not (result.pictures or result.files):
        return result.text
    made: list[Json] = [{"type": "input_text", "text": result.text}]
    made += [{"type": "input_image", "image_url": f"data:image/png;base64,{one}"} for one in result.pictures]
    return made + [
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{one}"}
        for one in result.files
    ]


def messages(history: History) -> Json:
    """The body of a message: blocks of one role one after the other are one turn's."""
    turns: list[Json] = []
    for turn in history:
        match turn:
            case User():
                turns.append({"role": "user", "content": [{"type": "text", "text": turn.text}]})
                continue
            case System():
                turns.append({"role": "system", "content": turn.text})
                continue
            case Said():
                role, block = "assistant", {"type": "text", "text": turn.text}
            case Call():
                block = {
                    "type": "tool_use",
                    "id": turn.id,
                    "name": turn.name,
                    "input": _input(turn.arguments),
                }
                role = "assistant"
            case Thinking():
                role = "assistant"
                block = {"type": "thinking", "thinking": "Hm.", "signature": turn.proof}
            case Result():
                role = "user"
                block = {"type": "tool_result", "tool_use_id": turn.id, "content": _messages_content(turn)}
        if turns and turns[-1]["role"] == role and isinstance(turns[-1]["content"], list):
            turns[-1]["content"].append(block)
        else:
            turns.append({"role": role, "content": [block]})
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in tool_names(history)]
    return {"model": "M", "messages": turns, "max_tokens": 500} | ({"tools": tools} if tools else {})


def _input(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments  # as clients keep what they could not read


def _messages_content(result: Result) -> str | list[Json]:
    if not (result.pictures or result.files):
        return result.text
    made: list[Json] = [{"type": "text", "text": result.text}]
    for kind, media_type, ones in (
        ("image", "image/png", result.pictures),
        ("document", "application/pdf", result.files),
    ):
        made += [
            {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": one}}
            for one in ones
        ]
    return made


TELLERS: Final = {"chat": chat, "responses": responses, "messages": messages}
