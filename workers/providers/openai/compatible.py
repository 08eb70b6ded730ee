"""Owns what servers that are not OpenAI send: read as it comes, in whatever frame, and handed on as OpenAI would send it."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.bus.frames import Job
from schemas.json import UNREADABLE, mending
from workers.providers.openai.chunks import BROKEN_OFF, NOTHING_SERVED, Chunks, FailedError
from workers.providers.openai.endings import body_ends
from workers.providers.openai.places import error_of
from workers.providers.openai.toolcalls import BabbleError
from workers.upstream import sse
from workers.upstream.halves import Halves
from workers.upstream.sse import EventReader, EventTooLargeError

_BOM: Final = b"\xef\xbb\xbf"
_DONE: Final = b"[DONE]"
_NONSENSE: Final = b"?"  # no JSON: the exchange refuses it
# What servers and proxies write as data to keep a connection open.
_KEEP_ALIVE: Final = re.compile(
    rb":.*|\[[A-Z _-]*\]|null|\"\"|(?:[A-Z]+ )?(?:ping|pong|heartbeat|keep[-_ ]?alive|processing)\W*",
    re.IGNORECASE | re.DOTALL,
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


class Mender:
    """One answer of a compatible server, plain or streamed.

    What keeps OpenAI's contract goes on byte for byte. What breaks it is mended, what is no chunk is left out, and
    what says that the call failed becomes an object with `error`.
    """

    def __init__(self, job: Job) -> None:
        self._chunks = Chunks(job)
        self._reader = EventReader()
        self._halves = Halves()
        self._head: bytes | None = b""  # what has come before it is known what comes; None once it is
        self._json: list[bytes] | None = None  # the pieces of a body that is no stream
        self._json_bytes = 0
        self.unended = False  # such a body says nowhere why it ends

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that these bytes complete, in order. Raises EventTooLargeError."""
        if self._head is not None:
            data = self._open(data)
        if self._json is not None:
            self._gather(data)
            return []
        out: list[bytes] = []
        fits, halves = self._chunks.fits, self._halves
        for event in self._reader.feed(data):
            if halves.waiting:
                self._each(halves.ready(event), out)
            elif fits(event) and b"\n" not in event:
                out.append(event)
            else:
                self._event(event, out)
        return out

    def close(self) -> list[bytes]:
        """The last events, at the end of file: `[DONE]` among them if the answer is whole."""
        out: list[bytes] = []
        self._each(self._halves.rest(), out)
        if self._json is not None:
            self._split(b"".join(self._json), out)
            return out
        rest = self._reader.end().strip()
        if rest.startswith(b"{") and not _is_json(rest):
            return out  # it broke off within an event
        self._event(rest, out)
        if self._chunks.complete and _DONE not in out:
            out.append(_DONE)
        return out

    def envelope(self) -> dict[str, Raw]:
        """What stands around every chunk of the stream so far."""
        return self._chunks.envelope

    def answer(self, body: bytes) -> bytes:
        """The body of a plain answer; one with `error` if it is none."""
        body = body.removeprefix(_BOM)
        try:
            return _encode(self._chunks.whole(_fields(body)))
        except FailedError as failed:
            return _failure(failed.error)
        except (*UNREADABLE, BabbleError):
            return _NONSENSE

    def _open(self, data: bytes) -> bytes:
        """Finds out what comes, past white space and a byte order mark, both of which may be cut anywhere."""
        data = ((self._head or b"") + data).lstrip()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._head = data
            return b""
        data = data.removeprefix(_BOM)
        self._head = None
        if data.lstrip()[:1] in (b"{", b"["):
            self._json = []
        return data

    def _gather(self, data: bytes) -> None:
        self._json_bytes += len(data)
        if self._json is None or self._json_bytes > sse.EVENT_BYTES_MAX:
            raise EventTooLargeError
        self._json.append(data)

    def _event(self, event: bytes, out: list[bytes]) -> None:
        event = event.strip()
        if event[: len(_DONE)].upper() == _DONE:
            out.append(self._end())
            return
        if not event or _KEEP_ALIVE.fullmatch(event):
            return
        try:
            fields = _strictly(event)
        except FailedError as failed:
            out.append(_failure(failed.error))
            return
        except UNREADABLE:
            found = self._halves.ready(event)
            if found and found[0][1] is event:
                out.append(_NONSENSE)
            else:
                self._each(found, out)
            return
        try:
            if mended := self._chunks.chunk(fields):
                out.append(mended)
        except FailedError as failed:
            out.append(_failure(failed.error))
        except (*UNREADABLE, BabbleError):
            out.append(_NONSENSE)

    def _each(self, events: list[tuple[Any, bytes]], out: list[bytes]) -> None:
        for _, event in events:
            self._event(event, out)

    def _end(self) -> bytes:
        """`[DONE]`, or an error if it is no end: proxies write it after an answer that was cut."""
        if not self._chunks.begun:
            return _failure(NOTHING_SERVED)
        return _DONE if self._chunks.finished else _failure(BROKEN_OFF)

    def _split(self, body: bytes, out: list[bytes]) -> None:
        """A plain body in answer to a stream. One that breaks off gives no end."""
        self.unended = not body_ends(body)
        try:
            out += self._chunks.split(_fields(_on_a_line(body)))
            out.append(_DONE)
        except FailedError as failed:
            out.append(_failure(failed.error))
        except (*UNREADABLE, BabbleError):
            return


def _strictly(event: bytes) -> dict[str, Raw]:
    """The fields of an event without half a character in it: raw values are not looked into. Raises as `_fields` does."""
    if not event.isascii():
        event.decode()
    event = _on_a_line(event)
    if event.lstrip()[:1] == b"[":
        return _fields(event)
    return _decode_map(event)


def _fields(body: bytes) -> dict[str, Raw]:
    """A JSON object one level deep. Raises UNREADABLE; FailedError for a list, which only errors come in."""
    if body.lstrip()[:1] == b"[":
        raise FailedError(error_of(_decode(body)) or NOTHING_SERVED)
    return mending(_decode_map, body)


def _on_a_line(body: bytes) -> bytes:
    """JSON without line ends: raw values travel on, and one within an event of ours would end it. Raises UNREADABLE."""
    if b"\n" not in body and b"\r" not in body:
        return body
    return mending(_on_one, body)


def _on_one(body: bytes) -> bytes:
    return msgspec.json.format(body, indent=-1)


def _is_json(event: bytes) -> bool:
    try:
        _decode(event)
    except UNREADABLE:
        return False
    return True


def _failure(error: Mapping[str, Any]) -> bytes:
    return _encode({"error": error})
