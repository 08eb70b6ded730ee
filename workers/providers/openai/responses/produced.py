"""Owns how much output the items of a response hold: texts, summaries, arguments and actions, in bytes, for estimates."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.bus.usage import utf8_bytes
from schemas.json import UNREADABLE
from workers.answers.said import Said

_ADDED: Final = "response.output_item.added"
_DONE: Final = "response.output_item.done"
_TEXTS: Final = ("text", "refusal")


class _Item(Struct):
    """Whatever an item may say. What proves its reasoning is no output."""

    content: Any = None
    summary: Any = None
    arguments: Any = None
    input: Any = None
    action: Raw = Raw(b"")  # of a shell
    operation: Raw = Raw(b"")  # of a patch


_decode = msgspec.json.Decoder(_Item).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode


def hear_whole(output: Raw | bytes, said: Said) -> None:
    """The output of a whole response, whatever of it was said piece by piece."""
    _hear_more(_output_bytes(output), output, said)


class Items:
    """The items of a stream. Most come piece by piece, and some whole: their end says what no piece has said."""

    __slots__ = ("_before", "_open", "_whole")

    def __init__(self) -> None:
        self._open = 0  # items that have begun and not ended
        self._before = 0  # bytes of output when the first of them began
        self._whole = 0  # bytes in those that have ended since

    def hear(self, kind: str, item: Raw, said: Said) -> None:
        """Takes note of the beginning or end of an item, and hears what of it has not come in pieces."""
        if kind == _ADDED:
            self._open += 1
        elif kind == _DONE:
            self._open = max(self._open - 1, 0)
            self._whole += _item_bytes(item)
            if not self._open:
                heard_bytes = max(said.count_bytes, self._before + self._whole)
                self._before, self._whole = heard_bytes, 0
                _hear_more(heard_bytes, item, said)


def _hear_more(heard_bytes: int, among: Raw | bytes, said: Said) -> None:
    more = heard_bytes - said.count_bytes
    if more > 0:
        said.add_bytes(more, _output_text(among))


def _output_bytes(output: Raw | bytes) -> int:
    """Bytes of output in a response's items; of what is no list of them its own size."""
    try:
        return sum(map(_item_bytes, _decode_items(output)))
    except UNREADABLE:
        return len(bytes(output))


def _output_text(among: Raw | bytes) -> str:
    """The text of a response's items, or of one of them; of what is neither, itself."""
    try:
        raw = bytes(among)
        items = _decode_items(raw) if raw.startswith(b"[") else [Raw(raw)]
        return "".join(text for item in items for text in _item_texts(item))
    except UNREADABLE:
        return bytes(among).decode(errors="replace")


def _item_bytes(raw: Raw) -> int:
    return sum(map(utf8_bytes, _item_texts(raw)))


def _item_texts(raw: Raw) -> list[str]:
    try:
        item = _decode(raw)
    except UNREADABLE:
        return [bytes(raw).decode(errors="replace")]
    said = [text for parts in (item.content, item.summary) for text in _texts(parts)]
    said += [text for text in (item.arguments, item.input) if isinstance(text, str)]
    acts = [bytes(act).decode(errors="replace") for act in (item.action, item.operation)]
    return [text for text in (*said, *acts) if text]


def _texts(parts: Any) -> Iterable[str]:
    for part in parts if isinstance(parts, list) else ():
        for name in _TEXTS:
            if isinstance(part, Mapping) and isinstance(text := part.get(name), str):
                yield text
