"""Owns what a chat upstream says to callers of another dialect: each chunk is read once, and not written again."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.json import UNREADABLE
from schemas.money.pricing import TokenUsage
from workers.answers.base import Answer
from workers.providers.base import Fault
from workers.providers.chat_answers import ChatChoice, ChatReader, ChatSaid
from workers.providers.emulation import chat_job, requests

_DATA_BYTES: Final = len(b"data: ")


class _Chunk(Struct):
    """A chunk, and what makes it more than something to tell."""

    choices: list[ChatChoice] = []
    error: Any = None
    usage: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


def tellers(job: Job, model: Model) -> list[tuple[Job, "Teller"]]:
    """The chat jobs that stand for another dialect's job, each with what tells its answer.

    Raises RefusedError for a body that is not valid.
    """
    return [(chat_job(job, chat, model), Teller(render)) for chat, render in requests(job, model)]


class Teller:
    """Tells one chat answer in the shape of its caller's dialect. `fault` is set for what cannot be told."""

    __slots__ = ("_ended", "_reader", "_render")

    def __init__(self, render: Answer) -> None:
        self._render = render
        self.restart()

    def restart(self) -> None:
        """Forgets what an earlier try has told."""
        self._reader = ChatReader(self._render)
        self._render.restart()
        self._ended = False

    @property
    def fault(self) -> Fault | None:
        """Why the answer cannot be told."""
        return self._reader.fault

    @staticmethod
    def read(event: bytes) -> tuple[list[ChatChoice], list[str]] | None:
        """A chunk that is nothing but something to tell, with the texts of its output: the usual case, at one decode."""
        try:
            if not event.isascii():
                event.decode()
            chunk = _decode(event)
        except UNREADABLE:
            return None
        if chunk.error is not None or chunk.usage is not None:
            return None
        texts: list[str] = []
        for choice in chunk.choices:
            if choice.delta is None or not _is_plain(choice.delta):
                return None
            texts += _texts(choice.delta)
        return chunk.choices, texts

    def tell(self, choices: list[ChatChoice]) -> bytes:
        """The caller's events for choices that have been read; b"" after a fault."""
        return self._reader.tell(choices) if self._reader.fault is None else b""

    def say(self, body: bytes) -> bytes:
        """The same for a plain chat answer."""
        return self._reader.say(body) if self._reader.fault is None else b""

    def repeat(self, event: bytes) -> bytes:
        """The same for an event as a caller of chat would get it."""
        return self.say(event[_DATA_BYTES:])

    def end(self, usage: TokenUsage | None, uplifts: tuple[str, ...]) -> bytes:
        """The caller's last events, once; or the whole plain body."""
        if self._ended:
            return b""
        self._ended = True
        return self._render.end(usage, uplifts)


def _is_plain(said: ChatSaid) -> bool:
    """Whether all that a delta says is counted here."""
    if said.function_call is not None or said.reasoning is not None:
        return False
    if said.tool_calls is not None:
        for call in said.tool_calls:
            if call.custom is not None:
                return False
    return said.reasoning_content is None or isinstance(said.reasoning_content, str)


def _texts(said: ChatSaid) -> list[str]:
    texts = [text for text in (said.content, said.refusal, said.reasoning_content) if text]
    if said.tool_calls is not None:
        functions = [call.function for call in said.tool_calls if call.function is not None]
        texts += [function.arguments for function in functions if function.arguments]
    return texts
