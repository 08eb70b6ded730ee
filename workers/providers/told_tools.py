"""Owns what a translated family is told of a caller's tools: names that it takes, and results that it can read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from msgspec import structs

from schemas.catalogue.model import Model
from schemas.chat.request import ChatRequest, FunctionCall, Message, Part, TextPart, ToolCall
from schemas.chat.toolsets import TOOL_NAME
from schemas.dialects.messages.names import told_apart
from workers.answers.base import Answer


def told(request: ChatRequest, model: Model) -> tuple[ChatRequest, dict[str, str]]:
    """A request as the family takes it, and the caller's names of tools by those that the family knows instead.

    Nothing changes in a request without tools, nor where nothing has to.
    """
    calling = any(message.tool_calls or message.function_call for message in request.messages)
    if not request.tools and not calling:
        return request, {}
    names = _names(request, model)
    messages = _once(request.messages) if calling else request.messages
    if calling and not model.capabilities.result_media:
        messages = _followed(messages)
    if names:
        messages = [_renamed(message, names) for message in messages]
        tools = [
            structs.replace(tool, function=_rename(tool.function, names)) if tool.function else tool
            for tool in request.tools or ()
        ]
        choice = _choice(request.tool_choice, names)
        request = structs.replace(request, tools=tools or None, tool_choice=choice)
    if messages is not request.messages:
        request = structs.replace(request, messages=messages)
    return request, {new: old for old, new in names.items()}


def answer_of(answer: Answer, names: Mapping[str, str]) -> Answer:
    """An answer whose tool calls bear the caller's names: `names` has them by the family's."""
    return cast("Answer", _Renaming(answer, names)) if names else answer


class _Renaming:
    """An answer but for the names of its tool calls."""

    def __init__(self, answer: Answer, names: Mapping[str, str]) -> None:
        self._answer = answer
        self._names = names

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)

    def tool(self, choice: int, call_id: str, name: str) -> bytes:
        """The opener of a call, under the caller's name."""
        return self._answer.tool(choice, call_id, self._names.get(name, name))


def _names(request: ChatRequest, model: Model) -> dict[str, str]:
    """The family's name of each tool whose own it does not take; no two alike."""
    pattern = re.compile(model.capabilities.tool_pattern or ".*", re.DOTALL)
    known = dict.fromkeys(_known(request))
    refused = [
        name for name in known if not (TOOL_NAME.fullmatch(name) and pattern.fullmatch(name) is not None)
    ]
    return told_apart(refused, known)


def _known(request: ChatRequest) -> Iterator[str]:
    """Every name of a tool in a request, those of a history too."""
    for tool in request.tools or ():
        if tool.function is not None:
            yield tool.function.name
    for message in request.messages:
        for call in message.tool_calls or ():
            if call.function is not None:
                yield call.function.name
        if message.function_call is not None:
            yield message.function_call.name


def _rename(function: Any, names: Mapping[str, str]) -> Any:
    new = names.get(function.name)
    return function if new is None else structs.replace(function, name=new)


def _renamed(message: Message, names: Mapping[str, str]) -> Message:
    if message.tool_calls:
        calls = [_renamed_call(call, names) for call in message.tool_calls]
        message = structs.replace(message, tool_calls=calls)
    if message.function_call is not None:
        old: FunctionCall = _rename(message.function_call, names)
        message = structs.replace(message, function_call=old)
    if message.role == "function":
        message = structs.replace(message, name=names.get(message.name or "", message.name))
    return message


def _renamed_call(call: ToolCall, names: Mapping[str, str]) -> ToolCall:
    return call if call.function is None else structs.replace(call, function=_rename(call.function, names))


def _choice(choice: Any, names: Mapping[str, str]) -> Any:
    """A tool choice with the family's names, wherever a function is named in it."""
    if isinstance(choice, dict):
        return {
            key: names.get(value, value)
            if key == "name" and isinstance(value, str)
            else _choice(value, names)
            for key, value in choice.items()
        }
    if isinstance(choice, list):
        return [_choice(one, names) for one in choice]
    return choice


def _once(messages: list[Message]) -> list[Message]:
    """Of two results for one call the last counts; the same list where each call has one."""
    later: set[str | None] = set()  # calls of the turn under way whose result stands further on
    again: set[int] = set()
    for index in reversed(range(len(messages))):
        message = messages[index]
        if message.role in ("tool", "function"):
            answered = message.tool_call_id if message.role == "tool" else message.name
            if answered in later:
                again.add(index)
            later.add(answered)
        elif message.role == "assistant":
            later.clear()
    return [one for index, one in enumerate(messages) if index not in again] if again else messages


def _followed(messages: list[Message]) -> list[Message]:
    """Pictures and files of results in a user's message behind them; the same list where there are none."""
    if all(message.role != "tool" or isinstance(message.content, str) for message in messages):
        return messages
    made: list[Message] = []
    shown: list[Part] = []
    for message in messages:
        if message.role != "tool":
            made += [Message("user", shown)] if shown else []
            shown = []
        elif isinstance(message.content, list):
            media = [part for part in message.content if not isinstance(part, TextPart)]
            if media:
                shown += [TextPart(f"Image from tool call {message.tool_call_id}:"), *media]
                texts: list[Part] = [part for part in message.content if isinstance(part, TextPart)]
                message = structs.replace(message, content=texts)  # noqa: PLW2901  the same message, with less in it
        made.append(message)
    return [*made, Message("user", shown)] if shown else made
