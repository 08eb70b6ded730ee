"""Owns what a caller has been sent of a stream, as bytes of output: the edge's estimate when a worker dies."""

import msgspec
from msgspec import Struct

KEPT_BYTES_MAX = 64 * 1024  # of events not yet counted
_EVENT = b"data: "


class _Function(Struct):
    arguments: str | None = None
    input: str | None = None


class _ToolCall(Struct):
    function: _Function | None = None
    custom: _Function | None = None


class _Delta(Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(Struct):
    delta: _Delta | None = None
    text: str | None = None


class _Chunk(Struct):
    choices: list[_Choice] = []


_decode = msgspec.json.Decoder(_Chunk).decode


class Seen:
    """Counts content, reasoning and tool arguments, and does it late: most streams end well and are never counted."""

    __slots__ = ("_counted", "_kept", "_kept_bytes")

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._counted = 0

    def add(self, events: bytes) -> None:
        """Takes whole events."""
        self._kept.append(events)
        self._kept_bytes += len(events)
        if self._kept_bytes > KEPT_BYTES_MAX:
            self._count()

    def output_bytes(self) -> int:
        """Bytes of output in all events so far."""
        self._count()
        return self._counted

    def _count(self) -> None:
        *lines, rest = b"".join(self._kept).split(b"\n")
        for line in lines:
            if line.startswith(_EVENT):
                self._counted += _output(line[len(_EVENT) :])
        # The rest is the start of an event that was too large for a frame; what follows belongs to it.
        self._kept = [rest] if rest else []
        self._kept_bytes = 0


def _output(event: bytes) -> int:
    try:
        chunk = _decode(event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0
    count = 0
    for choice in chunk.choices:
        texts = [choice.text]
        if (delta := choice.delta) is not None:
            texts += [delta.content, delta.reasoning, delta.reasoning_content, delta.refusal]
            functions = [delta.function_call]
            for call in delta.tool_calls or ():
                functions += [call.function, call.custom]
            for function in functions:
                if function is not None:
                    texts += [function.arguments, function.input]
        count += sum(len(text.encode()) for text in texts if text)
    return count
