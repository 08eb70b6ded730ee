"""Owns how a translated answer looks in Anthropic's dialect: a message of blocks, one after the other, or its events."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self

import msgspec
from msgspec import Raw, Struct

from schemas.bus.frames import Job
from schemas.dialects.blobs import Blob, seal
from schemas.dialects.messages.counting import likely_tokens
from schemas.dialects.messages.names import told_id, told_name
from schemas.dialects.messages.request import MESSAGES, Thinking
from schemas.dialects.messages.usage import usage_totals, usage_whole
from schemas.json import UNREADABLE, mending
from schemas.money.pricing import TokenUsage
from workers.answers.beliefs import believable
from workers.answers.costs import cost
from workers.answers.said import Said

_ID_PREFIX: Final = "msg_"
_STOPS: Final = {"length": "max_tokens", "content_filter": "refusal"}
_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_REFUSED: Final = {"type": "refusal", "category": None, "explanation": None}

_encode = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


class _Tool(Struct):
    name: str = ""


class _Asked(Struct):
    """What an answer has to know of its request."""

    tools: list[_Tool] | None = None
    thinking: Thinking | None = None
    stop_sequences: list[str] | None = None


_decode_asked = msgspec.json.Decoder(_Asked).decode


def message_id(job: Job) -> str:
    """A message's id: its call's."""
    return _ID_PREFIX + job.request_id.removeprefix("req_")


class MessagesAnswer:
    """One message. Its blocks are strictly one after the other: opening one closes the one before it."""

    __slots__ = (
        "_calls",
        "_content",
        "_delta",
        "_index",
        "_job",
        "_kind",
        "_names",
        "_opened",
        "_pieces",
        "_refused",
        "_stop_reason",
        "_stop_sequence",
        "_stops",
        "_thinking",
        "_tool_empty",
        "said",
    )

    dialect: ClassVar[str] = MESSAGES
    terminal: ClassVar[tuple[bytes, ...]] = (b"event: message_delta\n",)

    def __init__(self, job: Job) -> None:
        self._job = job
        try:
            asked = _decode_asked(job.body)
        except UNREADABLE:
            asked = _Asked()
        self._thinking = asked.thinking or Thinking("disabled")
        self._stops = asked.stop_sequences or ()
        self._names = {
            told: tool.name for tool in asked.tools or () if (told := told_name(tool.name)) != tool.name
        }
        self.restart()

    @classmethod
    def of_job(cls, job: Job, exchanges: int, echoes: Sequence[str]) -> list[Self]:
        """The one answer of a job."""
        del exchanges, echoes
        return [cls(job)]

    def restart(self) -> None:
        """Forgets everything said."""
        self.said = Said()
        self._opened = False
        self._index = -1  # of the newest block
        self._kind = ""  # of the block that is open
        self._delta = b""  # how a delta of that block begins
        self._calls = 0
        self._tool_empty = False
        self._refused = False
        self._stop_reason: str | None = None
        self._stop_sequence: str | None = None
        self._content: list[dict[str, Any]] = []  # of a plain answer
        self._pieces: list[str] = []  # of the block that is open in it

    @property
    def output_bytes(self) -> int:
        """Bytes of what was said."""
        return self.said.count_bytes

    def open(self, choice: int = 0) -> bytes:
        """The event that begins the message; opening it again does nothing."""
        del choice
        if self._opened:
            return b""
        self._opened = True
        if not self._job.stream:
            return b""
        job = self._job
        likely = min(likely_tokens(job.text_bytes) + job.media_tokens, job.prompt_max)
        message = _message(job, [], None, usage_whole(TokenUsage(input=likely, output=1)))
        return _event("message_start", {"type": "message_start", "message": message})

    def text(self, choice: int, text: str, logprobs: Sequence[dict[str, Any]] | None = None) -> bytes:
        """A piece of a block of text; there is no empty one."""
        del logprobs
        if not text:
            return self.open(choice)
        opened = b"" if self._kind == "text" else self._begin("text", {"type": "text", "text": ""})
        self.said.add(text)
        return opened + self._piece(text)

    def refusal(self, choice: int, text: str) -> bytes:
        """Text, in a message that ends as a refusal."""
        self._refused = True
        return self.text(choice, text)

    def reasoning(self, choice: int, text: str) -> bytes:
        """A piece of a block of thinking, if the caller asked for it; else a count."""
        if not text:
            return b""
        if not self._thinking.shown:
            self.hidden(text)
            return self.open(choice)
        block = {"type": "thinking", "thinking": "", "signature": ""}
        opened = b"" if self._kind == "thinking" else self._begin("thinking", block)
        self.hidden(text)
        return opened + self._piece(text)

    def hidden(self, text: str) -> None:
        """Counts output that the caller is not shown, for estimates."""
        self.said.add(text)

    def signature(self, choice: int, blob: Blob) -> bytes:
        """The end of the thinking that is open, or a block of its own that no caller can read."""
        del choice
        job = self._job
        if self._thinking.type == "disabled" or not job.scope:
            return b""
        sealed = seal(job.scope, blob)
        if self._kind != "thinking":
            opened = self._begin("redacted_thinking", {"type": "redacted_thinking", "data": sealed})
            return opened + self._end_block()
        if not job.stream:
            self._content[-1]["signature"] = sealed
            return self._end_block()
        delta = {"type": "signature_delta", "signature": sealed}
        told = {"type": "content_block_delta", "index": self._index, "delta": delta}
        return _event("content_block_delta", told) + self._end_block()

    def tool(self, choice: int, call_id: str, name: str) -> bytes:
        """The opener of a call, under the name that the caller gave the tool."""
        ended = self.tool_end(choice)
        self._calls += 1
        self._tool_empty = True
        block = {
            "type": "tool_use",
            "id": told_id(call_id),
            "name": self._names.get(name, name),
            "input": Raw(b"{}"),
        }
        opened = ended + self._begin("tool_use", block)
        return opened + self._piece("")

    def arguments(self, choice: int, fragment: str) -> bytes:
        """A fragment of the newest call's input; empty ones are dropped."""
        del choice
        if not fragment:
            return b""
        self._tool_empty = False
        self.said.add(fragment)
        return self._piece(fragment) if self._kind == "tool_use" else b""

    def tool_end(self, choice: int) -> bytes:
        """Ends the newest call: one without arguments has an empty input, which needs no word."""
        del choice
        if self._tool_empty:
            self._tool_empty = False
            self.hidden("{}")
        return self._end_block() if self._kind == "tool_use" else b""

    def tool_calls(self, choice: int) -> int:
        """How many calls there are so far."""
        del choice
        return self._calls

    def finished(self, choice: int) -> bool:
        """Whether the message has had its reason."""
        del choice
        return self._stop_reason is not None

    def finish(self, choice: int, reason: str, matched: str | None = None) -> bytes:
        """Ends the last block, and notes why the message ends: at a stop sequence only if the provider names it."""
        if self._stop_reason is not None:
            return b""
        opened = self.open(choice) + self.tool_end(choice) + self._end_block()
        if reason in _STOPS:
            self._stop_reason = _STOPS[reason]
        elif self._calls:
            self._stop_reason = "tool_use"
        elif self._refused:
            self._stop_reason = "refusal"
        elif matched and matched in self._stops:
            self._stop_reason, self._stop_sequence = "stop_sequence", matched
        else:
            self._stop_reason = "end_turn"
        return opened

    def end(self, usage: TokenUsage | None, uplifts: tuple[str, ...] = ()) -> bytes:
        """The last two events with the usage of the whole call, or the message."""
        del uplifts
        job = self._job
        usage = believable(job, usage, self.said)
        billed = cost(job)
        opened = self.open()
        if not job.stream:
            message = _message(job, self._content, self._stop_reason, usage_whole(usage) | billed)
            return _encode(message | {"stop_sequence": self._stop_sequence})
        delta = {
            "stop_reason": self._stop_reason,
            "stop_sequence": self._stop_sequence,
            "stop_details": _REFUSED if self._stop_reason == "refusal" else None,
            "container": None,
        }
        told = {"type": "message_delta", "delta": delta, "usage": usage_totals(usage) | billed}
        return opened + _event("message_delta", told) + _STOP

    def _begin(self, kind: str, block: dict[str, Any]) -> bytes:
        """Opens a block, after whatever was open."""
        out = self.open() + self._end_block()
        self._index += 1
        self._kind = kind
        if not self._job.stream:
            self._content.append(block)
            return b""
        self._delta = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b'
            % (
                self._index,
                _DELTAS.get(kind, b""),
            )
        )
        told = {"type": "content_block_start", "index": self._index, "content_block": block}
        return out + _event("content_block_start", told) + (b"" if self._index else _PING)

    def _piece(self, text: str) -> bytes:
        if self._job.stream:
            return b"".join((self._delta, _encode(text), b"}}\n\n"))
        self._pieces.append(text)
        return b""

    def _end_block(self) -> bytes:
        """Closes the block that is open, if one is."""
        kind, self._kind = self._kind, ""
        if not kind:
            return b""
        if self._job.stream:
            told = {"type": "content_block_stop", "index": self._index}
            return _event("content_block_stop", told)
        text, self._pieces = "".join(self._pieces), []
        block = self._content[-1]
        if kind == "tool_use":
            given = _object(text)
            if given is None:
                # A call that was cut off: an empty input would have its tool run blindly.
                self._content.pop()
                self._calls -= 1
            elif text:
                block["input"] = Raw(given)
        elif kind in ("text", "thinking"):
            block[kind] = text
        return b""


_DELTAS: Final = {
    "text": b'{"type":"text_delta","text":',
    "thinking": b'{"type":"thinking_delta","thinking":',
    "tool_use": b'{"type":"input_json_delta","partial_json":',
}


def _message(
    job: Job, content: list[dict[str, Any]], reason: str | None, usage: dict[str, Any]
) -> dict[str, Any]:
    """A message as it begins, or whole."""
    return {
        "id": message_id(job),
        "type": "message",
        "role": "assistant",
        "model": job.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "stop_details": _REFUSED if reason == "refusal" else None,
        "container": None,
        "usage": usage,
    }


def _event(name: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(fields))


def _object(text: str) -> bytes | None:
    """The text of an object as it can be told, b"" for none at all; None for what is no object."""
    try:
        return mending(_read_object, text.encode()) if text else b""
    except UNREADABLE:
        return None


def _read_object(raw: bytes) -> bytes:
    _decode_object(raw)
    return raw
