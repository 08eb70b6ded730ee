"""Owns the tool calls of one choice as compatible servers stream them: one index, one id and one name for each call."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.json import UNREADABLE

CALLS_MAX: Final = 1_024  # of one choice: a server that opens more babbles

_FUNCTION: Final = Raw(b'"function"')
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_maps = msgspec.json.Decoder(list[dict[str, Raw]]).decode


class BabbleError(Exception):
    """An answer has more choices, or a choice more calls, than any answer has."""


class _Call:
    """One call so far."""

    __slots__ = ("_depth", "_pieces", "id", "name")

    def __init__(self, call_id: str, name: str) -> None:
        self.id = call_id
        self.name = name
        self._pieces: list[bytes] = []
        self._depth = 0  # braces open so far, those in strings too

    @property
    def argued(self) -> bool:
        """Whether any of its arguments have come."""
        return bool(self._pieces)

    def argue(self, text: str) -> None:
        """One more piece of its arguments."""
        if text:
            self._pieces.append(text.encode(errors="replace"))
            self._depth += text.count("{") - text.count("}")

    def is_whole(self) -> bool:
        """Whether its arguments are a JSON value. Parsed only where the braces match, so a long one costs little."""
        if not self._pieces or self._depth:
            return False
        try:
            _decode(b"".join(self._pieces))
        except UNREADABLE:
            return False
        return True


class ToolCalls:
    """Mends the tool calls of one choice's deltas. `prefix` begins the ids that a server leaves out."""

    __slots__ = ("_calls", "_places", "_prefix")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._calls: list[_Call] = []
        self._places: dict[int, int] = {}  # the server's index of a call, and ours

    @property
    def complete(self) -> bool:
        """Whether there are calls, and each is whole: one without arguments may well have none."""
        return bool(self._calls) and all(not call.argued or call.is_whole() for call in self._calls)

    def mend(self, raw: Raw) -> Raw:
        """One delta's `tool_calls`: the same bytes if nothing is wrong with them. Raises UNREADABLE, BabbleError."""
        deltas = _decode_maps(raw)
        changed = False
        for position, delta in enumerate(deltas):
            changed = self._delta(delta, position if len(deltas) > 1 else None) or changed
        return Raw(_encode(deltas)) if changed else raw

    def whole(self, raw: Raw) -> Raw:
        """A plain message's `tool_calls`: each has an id, a type, and its arguments as text. Raises UNREADABLE."""
        calls = _decode_maps(raw)
        changed = False
        for number, call in enumerate(calls):
            changed = self._argue(call) or changed
            if not _text(call.get("id")):
                call["id"] = Raw(_encode(f"{self._prefix}{number}"))
                changed = True
            if "function" in call and not _text(call.get("type")):
                call["type"] = _FUNCTION
                changed = True
        return Raw(_encode(calls)) if changed else raw

    def _delta(self, delta: dict[str, Raw], position: int | None) -> bool:
        changed = self._argue(delta)
        function = _fields(delta.get("function"))
        call_id, name = _text(delta.get("id")), _text(function.get("name"))
        given = index_of(delta.get("index"))
        ordinal = self._ordinal(given, position, call_id, name)
        if ordinal == len(self._calls):
            changed = self._open(delta, call_id, name) or changed
        else:
            changed = self._go_on(delta, function, self._calls[ordinal]) or changed
        self._calls[ordinal].argue(_text(function.get("arguments")))
        if given is not None:
            self._places[given] = ordinal
        if given != ordinal or bytes(delta["index"]) != b"%d" % ordinal:
            delta["index"] = Raw(b"%d" % ordinal)
            changed = True
        return changed

    def _ordinal(self, given: int | None, position: int | None, call_id: str, name: str) -> int:
        """Which call a delta belongs to: an old one's number, or the next."""
        calls, new = self._calls, len(self._calls)
        if call_id:
            known = next((at for at in reversed(range(new)) if calls[at].id == call_id), None)
            if known is not None:
                return known
        if given is not None:
            at = self._places.get(given, new)
        elif position is not None and position >= new and (call_id or name):
            at = new
        else:
            at = position if position is not None and position < new and not call_id else new - 1
        if not 0 <= at < new:
            return new
        return new if _begins(calls[at], call_id, name, indexed=given is not None) else at

    def _open(self, delta: dict[str, Raw], call_id: str, name: str) -> bool:
        if len(self._calls) >= CALLS_MAX:
            raise BabbleError
        changed = False
        if not call_id:
            call_id = f"{self._prefix}{len(self._calls)}"
            delta["id"] = Raw(_encode(call_id))
            changed = True
        if "function" in delta and not _text(delta.get("type")):
            delta["type"] = _FUNCTION
            changed = True
        self._calls.append(_Call(call_id, name))
        return changed

    @staticmethod
    def _go_on(delta: dict[str, Raw], function: dict[str, Raw], call: _Call) -> bool:
        """A later piece says nothing of what its call has said already: clients join what they get twice."""
        changed = delta.pop("id", None) is not None
        name = _text(function.get("name"))
        if "name" in function and name in ("", call.name):
            del function["name"]
            delta["function"] = Raw(_encode(function))
            changed = True
        else:
            call.name += name
        if delta.pop("type", None) is not None:
            changed = True
        return changed

    @staticmethod
    def _argue(call: dict[str, Raw]) -> bool:
        """Arguments that came as an object become its text."""
        function = _fields(call.get("function"))
        given = function.get("arguments")
        if given is None or bytes(given)[:1] not in (b"{", b"["):
            return False
        function["arguments"] = Raw(_encode(bytes(given).decode()))
        call["function"] = Raw(_encode(function))
        return True


def _begins(last: _Call, call_id: str, name: str, *, indexed: bool) -> bool:
    """Whether a delta begins another call though the server's index names `last`, or there is none.

    Some servers give parallel calls one index; some give each piece of one call its name again, and a new id.
    """
    if not name:
        return False
    if name != last.name:
        return bool(call_id) or not indexed or last.argued
    return last.is_whole()


def _fields(raw: Raw | None) -> dict[str, Raw]:
    return _decode_map(raw) if raw is not None and bytes(raw)[:1] == b"{" else {}


def _text(raw: Raw | None) -> str:
    if raw is None or bytes(raw)[:1] != b'"':
        return ""
    return str(_decode(raw))


def index_of(raw: Raw | None) -> int | None:
    """A choice's or a call's index, as a number or a text; None for whatever is none. Raises UNREADABLE."""
    value: Any = None if raw is None else _decode(raw)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
