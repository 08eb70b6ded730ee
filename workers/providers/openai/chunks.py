"""Owns chunks and plain bodies of compatible servers as OpenAI would write them: envelope, choices, usage, and no money."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.bus.frames import Job
from schemas.chat.request import COMPLETIONS
from schemas.json import UNREADABLE
from workers.providers.openai import messages, money
from workers.providers.openai.ends import REASONS, is_failure
from workers.providers.openai.messages import Said, is_object, text_of
from workers.providers.openai.places import TELLING, bare_error, error_in, error_in_choice
from workers.providers.openai.toolcalls import BabbleError, index_of
from workers.providers.openai.usages import Usages

CHOICES_MAX: Final = 4_096  # of one answer, where the job has fewer

NOTHING_SERVED: Final[Mapping[str, Any]] = {"message": "The upstream provider sent no answer.", "status": 502}
BROKEN_OFF: Final[Mapping[str, Any]] = {
    "message": "The upstream provider broke off its answer.",
    "status": 502,
}
_EMPTY: Final = Raw(b"[]")
_NULL: Final = Raw(b"null")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_maps = msgspec.json.Decoder(list[dict[str, Raw]]).decode

Fields = dict[str, Raw]


class FailedError(Exception):
    """What came says that the call failed. `error` is in OpenAI's shape."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("message"))
        self.error = error


class _Delta(Struct, forbid_unknown_fields=True):
    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


_TEXTS: Final = ("content", "refusal", "reasoning_content", "reasoning")


class _Choice(Struct, forbid_unknown_fields=True):
    index: int
    delta: _Delta
    finish_reason: str | None = None
    logprobs: Raw = _NULL


class _Chunk(Struct, forbid_unknown_fields=True):
    """A chunk of text as OpenAI writes it."""

    id: str
    object: str
    created: int
    model: str
    choices: list[_Choice]
    usage: None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    obfuscation: str | None = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class Chunks:
    """What one answer has said so far, and how its next object must look.

    Objects are maps of raw values: what keeps the contract stays byte for byte.
    """

    __slots__ = ("_envelope", "_known", "_legacy", "_request_id", "_said", "_usages", "_wanted")

    def __init__(self, job: Job) -> None:
        self._request_id = job.request_id
        self._wanted = max(job.choices, 1)
        self._legacy = job.dialect == COMPLETIONS
        self._envelope: Fields = {}  # id, object and created
        self._known: tuple[str, int] = ("", 0)  # id and created once more, as `fits` compares them
        self._said: dict[int, Said] = {}
        self._usages = Usages()

    @property
    def envelope(self) -> Fields:
        """What stands around every chunk so far: id, object and created."""
        return self._envelope

    @property
    def begun(self) -> bool:
        """Whether any choice has been seen."""
        return bool(self._said)

    @property
    def finished(self) -> bool:
        """Whether every choice that was seen has had its finish reason."""
        return all(said.finished for said in self._said.values())

    @property
    def complete(self) -> bool:
        """Whether every choice that was asked for has had its finish reason."""
        return len(self._said) >= self._wanted and self.finished

    def fits(self, event: bytes) -> bool:
        """Whether an event goes on as it is: one choice's text, after others like it. The usual case, at one decode."""
        try:
            chunk = _decode_chunk(event)
        except UNREADABLE:
            return False
        if (chunk.id, chunk.created) != self._known or len(chunk.choices) != 1:
            return False
        choice = chunk.choices[0]
        said = self._said.get(choice.index)
        if said is None or choice.delta.role is not None or chunk.object != "chat.completion.chunk":
            return False
        if choice.finish_reason is not None:
            if choice.finish_reason not in REASONS:
                return False
            said.finished = True
        said.told.update(name for name in _TEXTS if getattr(choice.delta, name))
        return True

    def chunk(self, fields: Fields) -> bytes:
        """One event of a stream; b"" for one that says nothing. Raises UNREADABLE, BabbleError, FailedError."""
        choices, changed = self._read(fields)
        if not choices and "usage" not in fields:
            return b""  # a filter's verdict on the prompt, a ping
        changed = changed or not choices
        for position, choice in enumerate(choices):
            index = _index(choice, position)
            said = self._of(index)
            mended = said.text(choice) if self._legacy else said.chunk(choice)
            changed = _put_index(choice, index) or mended or changed
        if changed:
            fields["choices"] = Raw(_encode(choices))
        self._seal(fields, "text_completion" if self._legacy else "chat.completion.chunk")
        return _encode(fields)

    def whole(self, fields: Fields) -> Fields:
        """A plain body. Raises UNREADABLE, BabbleError, FailedError."""
        choices, changed = self._read(fields)
        if not choices:
            raise FailedError(NOTHING_SERVED)
        for position, choice in enumerate(choices):
            index = _index(choice, position)
            if self._legacy:
                mended = messages.ended(choice, "stop")
            else:
                mended = messages.whole(choice, self._call_prefix(index))
            changed = _put_index(choice, index) or mended or changed
        if changed:
            fields["choices"] = Raw(_encode(choices))
        self._seal(fields, "text_completion" if self._legacy else "chat.completion")
        return fields

    def split(self, fields: Fields) -> Iterator[bytes]:
        """A plain body in answer to a stream, as the events of one. Raises as `whole` does."""
        whole = self.whole(fields)
        usage = whole.pop("usage", None)
        self._envelope = {}
        for choice in _decode_maps(whole["choices"]):
            for piece in (choice,) if self._legacy else _pieces(choice):
                yield self.chunk(whole | {"choices": Raw(_encode([piece]))})
        if usage is not None:
            yield _encode(whole | self._envelope | {"choices": _EMPTY, "usage": usage})

    def _read(self, fields: Fields) -> tuple[list[Fields], bool]:
        """The choices of an object, after its errors, its usage, and what is nobody's business. Whether they changed."""
        raw = fields.get("choices")
        choices = _decode_maps(raw) if raw is not None and bytes(raw) != b"null" else []
        told = {name: _decode(value) for name, value in fields.items() if name in TELLING}
        error = error_in(told)
        if error is None and not choices and "usage" not in fields:
            error = bare_error(told)
        for choice in choices:
            error = error or _error_of(choice)
        if error is not None:
            raise FailedError(error)
        for name in ("error", "errors"):
            fields.pop(name, None)  # it says nothing
        return choices, self._use(fields, choices)

    def _use(self, fields: Fields, choices: list[Fields]) -> bool:
        """Usage wherever it stands, at the top level; money and the server's own notes nowhere. Whether a choice changed."""
        inside = [choice.pop("usage", None) for choice in choices]
        found = [fields.get("usage"), *inside]
        notes = fields.pop("x_groq", None)
        if notes is not None and is_object(notes):
            found.append(_decode_map(notes).get("usage"))
        told = None
        for raw in found:
            if raw is not None and is_object(raw):
                told = self._usages.told(raw)
        money.take_off(fields)
        if told is not None:
            fields["usage"] = told
        else:
            fields.pop("usage", None)
        cleaned = [money.take_off_choice(choice) for choice in choices]
        return any(cleaned) or any(usage is not None for usage in inside)

    def _of(self, index: int) -> Said:
        said = self._said.get(index)
        if said is None:
            if len(self._said) >= max(CHOICES_MAX, self._wanted):
                raise BabbleError
            said = self._said[index] = Said(self._call_prefix(index))
        return said

    def _call_prefix(self, index: int) -> str:
        return f"call_{self._request_id}_{index}_"

    def _seal(self, fields: Fields, kind: str) -> None:
        """One id, object and created on all that an answer sends: the first of each that says something."""
        if not self._envelope:
            answer_id = text_of(fields.get("id")) or f"chatcmpl-{self._request_id}"
            created = _created(fields.get("created"))
            self._known = (answer_id, created)
            self._envelope = {
                "id": Raw(_encode(answer_id)),
                "object": Raw(_encode(kind)),
                "created": Raw(b"%d" % created),
            }
        for name, value in self._envelope.items():
            if bytes(fields.get(name, b"")) != bytes(value):
                fields[name] = value


def _error_of(choice: Fields) -> dict[str, Any] | None:
    raw = choice.pop("error", None)
    error = error_in_choice(_decode(raw)) if raw is not None else None
    if error is None and is_failure(text_of(choice.get("finish_reason"))):
        return dict(BROKEN_OFF)
    return error


def _pieces(choice: Fields) -> tuple[Fields, Fields]:
    """A whole choice as a delta, and its end."""
    delta = {name: value for name, value in choice.items() if name != "message"} | {
        "delta": choice["message"],
        "finish_reason": _NULL,
    }
    end = {"index": choice["index"], "delta": Raw(b"{}"), "finish_reason": choice["finish_reason"]}
    return delta, end


def _index(choice: Fields, position: int) -> int:
    index = index_of(choice.get("index"))
    return position if index is None else index


def _put_index(choice: Fields, index: int) -> bool:
    if bytes(choice.get("index", b"")) == b"%d" % index:
        return False
    choice["index"] = Raw(b"%d" % index)
    return True


def _created(raw: Raw | None) -> int:
    value = _decode(raw) if raw is not None else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1 << 53:
        return int(value)
    return int(time.time())
