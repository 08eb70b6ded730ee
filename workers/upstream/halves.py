"""Owns a character that is cut in two between the events of a stream: its first half waits for the other one."""

import codecs
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from schemas.json import UNREADABLE

EVENTS_MAX: Final = 16  # that wait at a time, behind one whose text is cut

_REPLACEMENT: Final = "\ufffd"
_UTF8, _UTF16 = "utf-8", "utf-16-le"
# Halves in an event that is no UTF-8 stand for its bytes; any others of it are escapes that nothing can complete.
_NO_BYTE: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")
# What tells the texts of one event from those of another, at its top.
_PLACES: Final = ("index", "output_index", "content_index", "summary_index", "contentBlockIndex")
# Texts that come piece by piece; others, and all within the objects of _WHOLE, come whole.
_GROWING: Final = frozenset(
    (
        "arguments",
        "content",
        "delta",
        "input",
        "outputText",
        "partial_json",
        "reasoning",
        "reasoning_content",
        "refusal",
        "text",
        "thinking",
    )
)
_WHOLE: Final = frozenset(("args", "input"))

Value = TypeVar("Value")
Key = tuple[Any, ...]

_encode = msgspec.json.Encoder().encode


def _number(text: str) -> Raw:
    return Raw(text.encode())  # as it was written


_loads = partial(json.loads, parse_int=_number, parse_float=_number)


class _Event(Struct):
    """One event, and how many halves in it wait."""

    tag: Any
    raw: bytes
    said: Any
    changed: bool = False
    halves: int = 0


class _Half(Struct):
    """The begun character of a text: the event that it ends in, where it stands there, and how it was cut."""

    event: _Event
    holder: Any
    name: Any
    codec: str
    begun: bytes

    def give_up(self) -> None:
        """Nothing completes it: it costs one character."""
        self.holder[self.name] += _REPLACEMENT
        self.event.halves -= 1


class Halves:
    """The texts of one stream. Some servers cut them amid a character, as an escape or as bytes, which JSON has no word for.

    An event whose text is cut waits for the next that goes on with it. Those of texts beside it wait behind it, in
    order; any other event says that nothing completes the half, which then costs one character.
    """

    __slots__ = ("_codec", "_event", "_events", "_goes_on", "_held")

    def __init__(self) -> None:
        self._held: dict[Key, _Half] = {}  # by where the text stands
        self._events: list[_Event] = []  # that wait, in order
        self._event = _Event(None, b"", None)  # the newest
        self._codec = _UTF16  # how it is cut, if it is
        self._goes_on = False  # it has a text of the kind that was cut

    @property
    def waiting(self) -> bool:
        """Whether an event waits: the next one has to be shown, whatever is in it."""
        return bool(self._events)

    def each(self, decode: Callable[[bytes], Value], raw: bytes) -> list[Value]:
        """What is read of an event, and of those that waited for it; nothing if it waits. Raises what `decode` raises."""
        if not self._events:
            try:
                return [decode(raw)]
            except UNREADABLE:
                found = self.ready(raw, decode)
                if found and found[0][1] is raw:
                    raise
        else:
            found = self.ready(raw, decode)
        return [read(event) for read, event in found]

    def ready(self, raw: bytes, tag: Any = None) -> list[tuple[Any, bytes]]:
        """The events that can be read now, in order, each with its tag: as they came, or with whole characters alone."""
        try:
            text, self._codec = raw.decode(), _UTF16
        except UnicodeDecodeError:
            text, self._codec = raw.decode(errors="surrogateescape"), _UTF8
        before = list(self._held)
        try:
            self._event = _Event(tag, raw, _loads(text))
            self._goes_on = False
            scope = tuple(_number_of(self._event.said, name) for name in _PLACES)
            self._walk(self._event.said, (scope,), whole=False)
        except (ValueError, TypeError, RecursionError):
            return [*self.rest(), (tag, raw)]
        self._events.append(self._event)
        for key in before:
            # One that was completed may have begun anew in this event.
            half = self._held.get(key)
            if half is not None and half.event is not self._event and not self._goes_on:
                self._held.pop(key).give_up()
        return self.rest() if len(self._events) > EVENTS_MAX else self._released()

    def rest(self) -> list[tuple[Any, bytes]]:
        """What still waits, at the end of the stream."""
        for half in self._held.values():
            half.give_up()
        self._held.clear()
        return self._released()

    def _released(self) -> list[tuple[Any, bytes]]:
        count = next((at for at, event in enumerate(self._events) if event.halves), len(self._events))
        out, self._events = self._events[:count], self._events[count:]
        return [(event.tag, _encode(event.said) if event.changed else event.raw) for event in out]

    def _walk(self, holder: Any, key: Key, *, whole: bool) -> None:
        if isinstance(holder, dict):
            whole = whole or key[-1] in _WHOLE
            items = [(name, name, inner) for name, inner in holder.items()]
        else:
            items = [(at, _place(inner, at), inner) for at, inner in enumerate(holder)]
        for name, place, inner in items:
            if isinstance(inner, dict | list):
                self._walk(inner, (*key, place), whole=whole)
            elif isinstance(inner, str) and inner:
                self._text(holder, name, (*key, place), grows=name in _GROWING and not whole)

    def _text(self, holder: Any, name: Any, key: Key, *, grows: bool) -> None:
        """Puts a text with what waited for it, and without what has to wait, in its place."""
        text: str = holder[name]
        if grows and self._held:
            self._goes_on = self._goes_on or any(_alike(key, other) for other in self._held)
        half = self._held.pop(key, None)
        if half is None and text.isascii():
            return
        begun = b""
        if half is not None and half.codec == self._codec:
            begun = half.begun
            half.event.halves -= 1
        elif half is not None:
            half.give_up()  # whatever was cut otherwise is never completed
        if self._codec == _UTF8:
            coming, errors = _NO_BYTE.sub(_REPLACEMENT, text).encode(errors="surrogateescape"), "strict"
        else:
            coming, errors = text.encode(_UTF16, "surrogatepass"), "replace"
        decoder = codecs.getincrementaldecoder(self._codec)(errors)  # bytes that no cut explains are nonsense
        holder[name] = decoder.decode(begun + coming)
        if rest := decoder.getstate()[0]:
            if grows:
                self._event.halves += 1
                self._held[key] = _Half(self._event, holder, name, self._codec, rest)
            else:
                holder[name] += _REPLACEMENT
        self._event.changed = self._event.changed or bool(rest) or holder[name] != text


def _alike(key: Key, other: Key) -> bool:
    """Whether two texts differ in nothing but which of several they are."""
    names = [part for part in key[1:] if isinstance(part, str)]
    return names == [part for part in other[1:] if isinstance(part, str)]


def _place(value: Any, at: int) -> Any:
    """Which of a list's items one is, in any event: by its own index, for an event may have but one of them."""
    index = _number_of(value, "index")
    return at if index is None else index


def _number_of(value: Any, name: str) -> bytes | None:
    told = value.get(name) if isinstance(value, dict) else None
    return bytes(told) if isinstance(told, Raw) else None
