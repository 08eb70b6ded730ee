"""Owns the ids of a native answer's items: each is marked, wherever it stands, so that later requests may refer to it."""

import re
from typing import Final

import msgspec
from msgspec import Raw

from schemas.bus.frames import Job
from schemas.responses.marks import Marks, markable

_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode
_NOTHING: Final = Raw(b"")
_NAMED: Final = re.compile(rb'("item_id"\s*:\s*)"[A-Za-z0-9_-]+"')


class Marking:
    """Marks the items of one exchange. A plain answer's say their own length, a stream's the most that they may have."""

    __slots__ = ("_marks", "_new", "_old", "_stream")

    def __init__(self, job: Job) -> None:
        self._marks = Marks(job.scope, job.request_id, job.limit)
        self._stream = job.stream
        self._old = self._new = b"\0"  # how the item is named that events are of now, and how it will be

    @staticmethod
    def of_job(job: Job) -> "Marking | None":
        """None for a job whose items nobody keeps."""
        return Marking(job) if job.keeps else None

    def event(self, raw: bytes) -> bytes:
        """An event of a stream, as JSON."""
        # Most are of the item that the last one was of. Within a text the quotes of these words would be escaped.
        out = raw.replace(self._old, self._new)
        if len(out) > len(raw):
            return out
        fields = _decode_map(raw)
        item = bytes(fields.get("item", _NOTHING))
        if item.startswith(b"{"):
            return _encode(fields | {"item": Raw(self._marks.loosely(item))})
        item_id = markable(fields.get("item_id"))
        if item_id is None:
            return raw
        marked = _encode(self._marks.loose(item_id))
        if (found := _NAMED.search(raw)) is not None:
            self._old, self._new = found[0], found[1] + marked
        return _encode(fields | {"item_id": Raw(marked)})

    def output(self, items: Raw) -> Raw:
        """The items of a whole response. What is no list stays as it is."""
        if not bytes(items).startswith(b"["):
            return items
        mark = self._marks.loosely if self._stream else self._marks.exactly
        return Raw(_encode([Raw(mark(bytes(item))) for item in _decode_items(items)]))
