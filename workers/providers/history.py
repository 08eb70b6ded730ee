"""Owns the tool calls in a job's history: all that a family reads of it to say whose signatures it wants."""

import msgspec
from msgspec import Struct

from schemas.bus.frames import Job
from schemas.chat.request import CHAT
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
