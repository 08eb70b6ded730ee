"""Owns what a choice of a compatible server must look like: role, content, tool calls and its end, in OpenAI's shape."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from workers.providers.openai.ends import REASONS, meaning
from workers.providers.openai.toolcalls import ToolCalls

_NULL: Final = Raw(b"null")
_EMPTY_TEXT: Final = Raw(b'""')
_NOTHING: Final = frozenset((b"null", b'""', b"[]", b"{}"))
_CALLED: Final = "tool_calls"  # what a reason that nobody knows means behind calls that are whole
_ASSISTANT: Final = Raw(b'"assistant"')
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


class Said:
    """What one choice of a stream has said so far."""

    __slots__ = ("calls", "finished", "opened", "spoken", "told")

    def __init__(self, prefix: str) -> None:
        self.calls = ToolCalls(prefix)
        self.opened = False  # its role was sent
        self.finished = False
        self.spoken = False  # a function of the legacy kind was named
        self.told: set[str] = set()  # the fields of which deltas have said something

    def chunk(self, choice: dict[str, Raw]) -> bool:
        """Mends one choice of a chunk, in place. Whether anything changed. Raises UNREADABLE, BabbleError."""
        raw = choice.get("delta")
        changed = not is_object(raw)
        if changed:
            raw = choice.get("message")  # some servers write chunks as whole answers
        delta = _decode_map(raw) if raw is not None and is_object(raw) else {}
        if not changed:
            self.told.update(name for name, value in delta.items() if bytes(value) not in _NOTHING)
        elif self.told:  # and some end with one, that says all of it once more
            delta = {name: value for name, value in delta.items() if name not in self.told}
        mended = _content(delta)
        mended = self._role(delta) or mended
        mended = _calls(delta, self.calls.mend) or mended
        mended = self._function(delta) or mended
        if changed or mended:
            if changed:
                choice.pop("message", None)
            choice["delta"] = Raw(_encode(delta))
        return self._finish(choice) or changed or mended

    def text(self, choice: dict[str, Raw]) -> bool:
        """The same for a choice of a legacy completion, in which only the end can be wrong."""
        mended = "text" not in choice
        if mended:
            choice["text"] = _EMPTY_TEXT
        return self._finish(choice) or mended

    def _role(self, delta: dict[str, Raw]) -> bool:
        """The first delta of a choice says its role, and no other: clients join what they get twice."""
        if self.opened:
            return delta.pop("role", None) is not None
        self.opened = True
        if text_of(delta.get("role")):
            return False
        said = dict(delta)
        delta.clear()
        delta["role"] = _ASSISTANT
        delta.update((name, value) for name, value in said.items() if name != "role")
        return True

    def _function(self, delta: dict[str, Raw]) -> bool:
        """A call of the legacy kind is named once."""
        raw = delta.get("function_call")
        if raw is None or not is_object(raw):
            return False
        function = _decode_map(raw)
        if self.spoken and "name" in function:
            del function["name"]
            delta["function_call"] = Raw(_encode(function))
            return True
        self.spoken = self.spoken or "name" in function
        return False

    def _finish(self, choice: dict[str, Raw]) -> bool:
        reason = choice.get("finish_reason")
        text = text_of(reason)
        told = meaning(text)
        if told is None:
            if reason is None or bytes(reason) == b"null":
                return False
            choice["finish_reason"] = _NULL
            return True
        self.finished = True
        if told not in REASONS and self.calls.complete:
            told = _CALLED
        if told == text:
            return False
        choice["finish_reason"] = Raw(_encode(told))
        return True


def whole(choice: dict[str, Raw], prefix: str) -> bool:
    """Mends one choice of a plain answer, in place. Whether anything changed. Raises UNREADABLE."""
    raw = choice.get("message")
    changed = not is_object(raw)
    if changed:
        raw = choice.pop("delta", None)
    message = _decode_map(raw) if raw is not None and is_object(raw) else {}
    mended = _content(message)
    if not text_of(message.get("role")):
        message["role"] = _ASSISTANT
        mended = True
    if "content" not in message:
        message["content"] = _NULL
        mended = True
    mended = _calls(message, ToolCalls(prefix).whole) or mended
    if changed or mended:
        choice["message"] = Raw(_encode(message))
    return ended(choice, _CALLED if _has_calls(message) else "stop") or changed or mended


def ended(choice: dict[str, Raw], untold: str) -> bool:
    """A choice of a plain answer has a finish reason: `untold` where the server said none. Whether anything changed."""
    text = text_of(choice.get("finish_reason"))
    told = meaning(text) or untold
    if told not in REASONS and untold == _CALLED:
        told = untold
    if told == text:
        return False
    choice["finish_reason"] = Raw(_encode(told))
    return True


def is_object(raw: Raw | None) -> bool:
    """Whether a value is a JSON object."""
    return raw is not None and bytes(raw)[:1] == b"{"


def text_of(raw: Raw | None) -> str:
    """A value that is a text; "" for any other."""
    return str(_decode(raw)) if raw is not None and bytes(raw)[:1] == b'"' else ""


def _calls(said: dict[str, Raw], mend: Callable[[Raw], Raw]) -> bool:
    raw = said.get("tool_calls")
    if raw is None or bytes(raw)[:1] != b"[":
        return False
    mended = mend(raw)
    if mended is raw:
        return False
    said["tool_calls"] = mended
    return True


def _has_calls(message: dict[str, Raw]) -> bool:
    raw = message.get("tool_calls")
    return raw is not None and bytes(raw)[:1] == b"[" and bool(_decode(raw))


def _content(said: dict[str, Raw]) -> bool:
    """Content in parts becomes one text; parts of reasoning become `reasoning_content`."""
    raw = said.get("content")
    if raw is None or bytes(raw)[:1] not in (b"[", b"{"):
        return False
    parts = _decode(raw)
    text, thought = _joined(parts if isinstance(parts, list) else [parts])
    said["content"] = Raw(_encode(text)) if text or not thought else _NULL
    if thought and "reasoning_content" not in said:
        said["reasoning_content"] = Raw(_encode(thought))
    return True


def _joined(parts: list[Any]) -> tuple[str, str]:
    text = thought = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        elif isinstance(part, dict):
            if isinstance(part.get("text"), str):
                text += part["text"]
            inner = part.get("thinking")
            if inner is not None:
                thought += "".join(_joined(inner if isinstance(inner, list) else [inner]))
    return text, thought
