"""Owns the marks on items' ids: how long an item is at most, in a form that callers cannot make up.

An id stands in a stream's first event of its item, before there is a text to measure. So a mark is a bound that is
chosen first and kept to afterwards: what came out longer is not kept, and what is not kept stands for nothing. What a
request refers to is therefore never more than its marks say. The items of a stream share one bound: that of its call.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw

ITEM_BYTES_MAX: Final = 64 * 1024  # of one that is kept, as JSON
ENVELOPE_BYTES: Final = 1024  # of an item's ids, types and names
BYTES_PER_TOKEN: Final = 8  # of output as JSON: more than text in any language has on average
_OWN: Final = "k"  # of an item that has its bound for itself
_SHARED: Final = "s"  # of one that shares it with all such items of its call
_MARK: Final = re.compile(r"_([ks])([0-9a-f]{5})([0-9a-f]{10})([0-9a-f]{16})\Z")
MARK_CHARS: Final = 33
_ID: Final = re.compile(rb'"([A-Za-z0-9_-]{1,128})"')
_CALL_CHARS: Final = 10
_CODE_BYTES: Final = 8
_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


class Marks:
    """The marks of one call's items. `limit` is the call's, in tokens of output."""

    __slots__ = ("_call", "_last", "_loose_bytes", "_scope")

    def __init__(self, scope: str, request_id: str, limit: int) -> None:
        self._scope = scope
        # Servers may give the items of every answer the same ids: the call keeps them apart.
        self._call = hashlib.sha256(request_id.encode()).hexdigest()[:_CALL_CHARS]
        self._last = ("", "")  # a stream names one item many times
        self._loose_bytes = ENVELOPE_BYTES + limit * BYTES_PER_TOKEN

    def loose(self, item_id: str) -> str:
        """The id of an item whose length is still to come: the most that the call's limit lets all of them have."""
        if item_id != self._last[0]:
            self._last = (item_id, self._marked(_SHARED, item_id, self._loose_bytes))
        return self._last[1]

    def exact(self, item_id: str, size_bytes: int) -> str:
        """The id of an item of at most so many bytes of JSON, the mark included."""
        return self._marked(_OWN, item_id, size_bytes)

    def _marked(self, kind: str, item_id: str, size_bytes: int) -> str:
        said = f"{kind}{min(size_bytes, ITEM_BYTES_MAX):05x}{self._call}"
        return f"{item_id}_{said}{_code(self._scope, item_id, said)}"

    def exactly(self, item: bytes) -> bytes:
        """An item as JSON, its id marked with its own length. One without an id that can be marked stays as it is."""
        fields = _decode_map(item)
        item_id = markable(fields.get("id"))
        if item_id is None:
            return item
        size_bytes = len(_encode(fields)) + MARK_CHARS
        return _encode(fields | {"id": Raw(_encode(self.exact(item_id, size_bytes)))})

    def loosely(self, item: bytes) -> bytes:
        """The same with the mark that it has in events."""
        fields = _decode_map(item)
        item_id = markable(fields.get("id"))
        return item if item_id is None else _encode(fields | {"id": Raw(_encode(self.loose(item_id)))})


def markable(raw: Raw | None) -> str | None:
    """The id of an item as a server wrote it, if a mark may follow it."""
    found = None if raw is None else _ID.fullmatch(bytes(raw))
    return None if found is None else found[1].decode()


def _code(scope: str, item_id: str, said: str) -> str:
    message = f"item\0{said}\0{item_id}".encode(errors="surrogatepass")
    return hmac.digest(scope.encode(), message, "sha256")[:_CODE_BYTES].hex()


def is_marked(item_id: str) -> bool:
    """Whether an id has the form of a marked one, whoever made it."""
    return _MARK.search(item_id) is not None


def unmarked(item_id: str) -> str:
    """An id as it was before it was marked."""
    return _MARK.sub("", item_id)


def is_true(scope: str, item_id: str) -> bool:
    """Whether a mark was made for this scope: never for one that is not known."""
    found = _MARK.search(item_id)
    if found is None or not scope:
        return False
    code = _code(scope, item_id[: found.start()], found[1] + found[2] + found[3])
    return hmac.compare_digest(code, found[4])


def bytes_max(item_ids: Iterable[str]) -> int:
    """What marks say, true or not: the most bytes of all their items; ids without one say nothing."""
    own_bytes = 0
    shared_bytes: dict[str, int] = {}  # by call
    for item_id in item_ids:
        found = _MARK.search(item_id)
        if found is None:
            continue
        size_bytes = int(found[2], 16)
        if found[1] == _OWN:
            own_bytes += size_bytes
        else:
            shared_bytes[found[3]] = max(shared_bytes.get(found[3], 0), size_bytes)
    return own_bytes + sum(shared_bytes.values())


def within(items: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Of one answer's items, ids and JSON, those that keep to their marks: the first that fit in a bound they share."""
    kept: list[tuple[str, bytes]] = []
    shared_bytes = 0
    for item_id, data in items:
        found = _MARK.search(item_id)
        if found is None:
            continue
        before = 0 if found[1] == _OWN else shared_bytes
        if before + len(data) <= int(found[2], 16):
            kept.append((item_id, data))
            shared_bytes += 0 if found[1] == _OWN else len(data)
    return kept
