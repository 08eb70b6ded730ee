"""Owns the request for embeddings as OpenAI defines it: its fields, and the four forms of its input."""

import contextlib
import re
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Final, NoReturn

import msgspec
from msgspec import Meta, Raw, Struct

from schemas.chat.priced import RequestError
from schemas.errors import invalid
from schemas.json import UNREADABLE

EMBEDDINGS: Final = "embeddings"
INPUTS_MAX: Final = 2_048  # OpenAI's own bound
TOKENS_MAX: Final = 1 << 19  # ids in one request: more than any provider takes
FLOAT: Final = "float"
BASE64: Final = "base64"

_Id = Annotated[int, Meta(ge=0, lt=1 << 31)]

_BEGINS: Final = re.compile(rb'\s*(?:(\[\s*\d)|(")|(\[\s*")|\[\s*\[)')

_decode_text = msgspec.json.Decoder(str).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode
_decode_ids = msgspec.json.Decoder(list[_Id]).decode
_decode_arrays = msgspec.json.Decoder(list[list[_Id]]).decode


class EmbeddingRequest(Struct, frozen=True):
    """A body that has been read: what a family translates. `input` stays as the caller wrote it."""

    model: str
    input: Raw
    dimensions: int | None = None
    encoding_format: str | None = None
    user: str | None = None
    input_type: str | None = None
    task_type: str | None = None


class Form(Enum):
    """What an `input` is."""

    TEXT = "text"
    TEXTS = "texts"
    IDS = "ids"
    ARRAYS = "arrays"

    @property
    def many(self) -> bool:
        """Whether each of its items is an input."""
        return self in (Form.TEXTS, Form.ARRAYS)


class Inputs(Struct, frozen=True):
    """What an `input` holds: of each text its bytes in UTF-8, of each array how many ids."""

    sizes: tuple[int, ...]
    tokens: bool


def form(raw: Raw | bytes) -> Form | None:
    """The form of an `input`, by how it begins; None for none that there is."""
    begins = _BEGINS.match(raw)
    if begins is None:
        return None
    return Form.IDS if begins[1] else Form.TEXT if begins[2] else Form.TEXTS if begins[3] else Form.ARRAYS


def inputs(raw: Raw) -> Inputs:
    """The inputs of a body. Too many are not even decoded. Raises RequestError 400 for anything else."""
    read = _READ.get(form(raw))
    found = None
    if read is not None:
        with contextlib.suppress(*UNREADABLE):
            found = read(bytes(raw))
    if found is None:
        _refuse(
            "'input' must be a string, an array of strings, an array of token ids, or an array of such arrays."
        )
    return found


def _text(data: bytes) -> Inputs:
    return Inputs(_text_sizes([_decode_text(data)]), tokens=False)


def _texts(data: bytes) -> Inputs:
    # Each text begins with a quote that no backslash stands before, and ends with at most one more such.
    if data.count(b'"') - data.count(b'\\"') > 2 * INPUTS_MAX:
        _refuse_many()
    return Inputs(_text_sizes(_decode_texts(data)), tokens=False)


def _ids(data: bytes) -> Inputs:
    _check_ids(data)
    return Inputs((len(_decode_ids(data)),), tokens=True)


def _arrays(data: bytes) -> Inputs:
    if data.count(b"[") - 1 > INPUTS_MAX:
        _refuse_many()
    _check_ids(data)
    return Inputs(_sizes(_decode_arrays(data)), tokens=True)


_READ: Final[dict[Form | None, Callable[[bytes], Inputs]]] = {
    Form.TEXT: _text,
    Form.TEXTS: _texts,
    Form.IDS: _ids,
    Form.ARRAYS: _arrays,
}


def _check_ids(data: bytes) -> None:
    # Ids are counted before they are decoded: an array has a comma less than it has ids.
    if data.count(b",") >= TOKENS_MAX:
        _refuse(f"'input' has more than {TOKENS_MAX} token ids.")


def _text_sizes(texts: list[str]) -> tuple[int, ...]:
    return _sizes([text if text.isascii() else text.encode() for text in texts])


def _sizes(items: list[Any]) -> tuple[int, ...]:
    if not items or not all(items):
        _refuse("'input' must not be empty, nor hold an empty string or array.")
    if len(items) > INPUTS_MAX:
        _refuse_many()
    return tuple(map(len, items))


def _refuse_many() -> NoReturn:
    _refuse(f"'input' has more than {INPUTS_MAX} inputs: send them in several requests.")


def _refuse(message: str) -> NoReturn:
    raise RequestError(invalid(message, param="input", code="invalid_value"))
