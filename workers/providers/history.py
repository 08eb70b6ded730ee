"""Owns what a job's history brings back: the tool calls whose signatures a family wants, and the reasoning in it."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct, structs

from schemas.bus.frames import Job
from schemas.chat.request import CHAT, Message, ThoughtfulMessage
from schemas.json import UNREADABLE


class KnownCall(Struct):
    """A tool call of an earlier turn."""

    id: str = ""


class KnownMessage(Struct):
    """A message, as far as tool calls go."""

    role: str = ""
    tool_calls: list[KnownCall] | None = None


class _History(Struct):
    messages: list[KnownMessage] = []


_decode = msgspec.json.Decoder(_History).decode


def messages_with_calls(job: Job) -> list[KnownMessage]:
    """The messages of a chat job whose history has tool calls; none for any other job, or for a body that cannot be read."""
    if job.dialect != CHAT or b'"tool_calls"' not in job.body:
        return []
    try:
        return _decode(job.body).messages
    except UNREADABLE:
        return []


def brings_thoughts(messages: Sequence[Message]) -> bool:
    """Whether any turn brings reasoning back."""
    return any(isinstance(message, ThoughtfulMessage) and message.thoughts for message in messages)


def without_thoughts(messages: Sequence[Message]) -> list[Message]:
    """The same turns without it."""
    return [
        structs.replace(message, thoughts=()) if isinstance(message, ThoughtfulMessage) else message
        for message in messages
    ]
