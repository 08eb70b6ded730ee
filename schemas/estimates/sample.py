"""Owns what is looked at of a text that may be long: a few slices of its JSON, as its model reads them."""

import re
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from msgspec import Struct

SAMPLE_BYTES_MAX: Final = 8 * 1024
SLICES: Final = 16
TURN_TOKENS: Final = 4.0  # what a provider puts around a message, in place of its JSON
_SLICE_BYTES: Final = SAMPLE_BYTES_MAX // SLICES

# What says in JSON that a message or a part of it begins. No text can look like it: quotes in a text are escaped.
_TURN: Final = re.compile(r'"role"\s*:\s*"')
_FRAME: Final = re.compile(
    r'[\[\]{},\s]*"(?:role|content|type|text|input)"\s*:\s*'
    r'(?:"(?:user|assistant|system|developer|tool|text|input_text|output_text|message)"|[\[{][\[{\s]*|")?'
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
# What a cut leaves of an escape, at a slice's beginning and at its end.
_CUT: Final = re.compile(r"\Au?[0-9a-fA-F]{0,4}(?=\\u)|\\(?:u[0-9a-fA-F]{0,3})?\Z")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class Sample(Struct, frozen=True):
    """A part of a prompt, and how many bytes of JSON it stands for."""

    text: str
    turns: int  # messages that begin in it
    bytes: int  # of JSON that it was taken from
    of_bytes: int  # of the whole
    more_tokens: float = 0.0  # beside the whole: of what is counted otherwise


def sampled(parts: Sequence[memoryview], seed: str, more_tokens: float = 0.0) -> Sample:
    """A sample of pieces of JSON, as they reach a prompt.

    Where its slices begin follows from `seed`: whoever does not know it cannot write dense text between them.
    """
    ends = list(accumulate(part.nbytes for part in parts))
    total = ends[-1] if ends else 0
    if total <= SAMPLE_BYTES_MAX:
        slices, taken = [bytes(part) for part in parts], total
    else:
        slices = _slices(parts, ends, seed)
        taken = sum(map(len, slices))
    cut = total > SAMPLE_BYTES_MAX
    texts = [piece.decode(errors="ignore") for piece in slices]
    raw = "\n".join(_CUT.sub("", text) if cut else text for text in texts)
    return Sample(_read(raw), len(_TURN.findall(raw)), taken, total, more_tokens)


def of_text(text: str) -> Sample:
    """A sample of a text that no JSON is around."""
    count_bytes = len(text.encode(errors="surrogatepass"))
    if len(text) <= SAMPLE_BYTES_MAX:
        return Sample(text, 0, count_bytes, count_bytes)
    step = len(text) // SLICES
    cut = "\n".join(text[at : at + _SLICE_BYTES] for at in range(0, step * SLICES, step))
    return Sample(cut, 0, len(cut.encode(errors="surrogatepass")), count_bytes)


def of_texts(texts: Sequence[str]) -> Sample:
    """A sample of several texts, each of which stands by itself."""
    total = sum(map(len, texts))
    if total <= SAMPLE_BYTES_MAX:
        return of_text("\n".join(texts))
    parts = [memoryview(text.encode(errors="surrogatepass")) for text in texts]
    ends = list(accumulate(part.nbytes for part in parts))
    slices = _slices(parts, ends, "")
    return Sample(
        "\n".join(piece.decode(errors="ignore") for piece in slices), 0, sum(map(len, slices)), ends[-1]
    )


def _slices(parts: Sequence[memoryview], ends: list[int], seed: str) -> list[bytes]:
    step = ends[-1] // SLICES
    slices = []
    for number in range(SLICES):
        jitter = zlib.crc32(f"{seed}/{number}".encode()) % (step - _SLICE_BYTES + 1)
        at, left = number * step + jitter, _SLICE_BYTES
        index = bisect_right(ends, at)
        piece = b""
        while left and index < len(parts):
            start = at - (ends[index - 1] if index else 0)
            taken = bytes(parts[index][start : start + left])
            piece += taken
            at, left, index = at + len(taken), left - len(taken), index + 1
        slices.append(piece)
    return slices


def _read(raw: str) -> str:
    """JSON as a model reads it: without the frames of messages, its escapes undone."""
    text = _FRAME.sub(" ", raw)
    if "\\" not in text:
        return text
    read = _ESCAPE.sub(_unescaped, text)
    try:
        return read.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    except UnicodeError:
        return read


def _unescaped(escape: re.Match[str]) -> str:
    code, char = escape.groups()
    return chr(int(code, 16)) if code else _ESCAPES.get(char, char)
