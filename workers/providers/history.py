"""Owns what a job's history brings back: the tool calls whose signatures a family wants, and the reasoning in it."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct, structs

from schemas.bus.frames import Job
from schemas.chat.request import CHAT, Message, ThoughtfulMessage
from schemas.dialects.messages.names import told_id
from schemas.dialects.messages.request import MESSAGES
from schemas.json import UNREADABLE
from schemas.responses.request import RESPONSES


class KnownCall(Struct):
    """A tool call of an earlier turn."""

    id: str = ""


class KnownMessage(Struct):
    """A message, as far as tool calls go."""

    role: str = ""
    tool_calls: list[KnownCall] | None = None


class _History(Struct):
    messages: list[KnownMessage] = []


class _Block(Struct):
    type: str = ""
    id: str = ""


class _Turn(Struct):
    role: str = ""
    content: str | list[_Block] = ""


class _Turns(Struct):
    messages: list[_Turn] = []


_decode = msgspec.json.Decoder(_History).decode
_decode_turns = msgspec.json.Decoder(_Turns).decode


def messages_with_calls(job: Job) -> list[KnownMessage]:
    """The messages of a job whose history has tool calls; none for a dialect that has none, or a body that cannot be read."""
    if job.dialect == RESPONSES:
        return _of_items(job)
    try:
        if job.dialect == CHAT and b'"tool_calls"' in job.body:
            return _decode(job.body).messages
        if job.dialect == MESSAGES and b'"tool_use"' in job.body:
            return [_as_chat(turn) for turn in _decode_turns(job.body).messages]
    except UNREADABLE:
        pass
    return []


class _KnownItem(Struct):
    type: str | None = None
    role: str | None = None
    call_id: str | None = None


class _Items(Struct):
    input: str | list[_KnownItem] = ""


_decode_items = msgspec.json.Decoder(_Items).decode


def _of_items(job: Job) -> list[KnownMessage]:
    """The items of a job of Responses as messages: each run of calls is one turn, and results end it."""
    found: list[KnownMessage] = []
    turn: KnownMessage | None = None
    try:
        items = _decode_items(job.body).input if b'_call"' in job.body else ""
    except UNREADABLE:
        return []
    for item in items if isinstance(items, list) else ():
        kind = item.type or ""
        if kind.endswith("_call") and item.call_id:
            if turn is None:
                turn = KnownMessage("assistant")
                found.append(turn)
            if turn.tool_calls is None:
                turn.tool_calls = []
            turn.tool_calls.append(KnownCall(item.call_id))
        elif item.role is not None or kind.endswith("_output"):
            turn = turn if item.role == "assistant" else None
            found.append(KnownMessage(item.role or "tool"))
    return found


def _as_chat(turn: _Turn) -> KnownMessage:
    blocks = turn.content if isinstance(turn.content, list) else []
    calls = [KnownCall(told_id(block.id)) for block in blocks if block.type == "tool_use"]
    results = any(block.type == "tool_result" for block in blocks)
    return KnownMessage("tool" if results else turn.role, calls or None)


def brings_thoughts(messages: Sequence[Message]) -> bool:
    """Whether any turn brings reasoning back."""
    return any(isinstance(message, ThoughtfulMessage) and message.thoughts for message in messages)


def without_thoughts(messages: Sequence[Message]) -> list[Message]:
    """The same turns without it."""
    return [
        structs.replace(message, thoughts=()) if isinstance(message, ThoughtfulMessage) else message
        for message in messages
    ]
