"""Half a character in JSON costs that character, and nothing else."""

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dialects import DIALECTS
from schemas.json import HALVES_MAX, check_text, mending, paired

_pieces = st.sampled_from(
    [r"\ud83d", r"\ude00", r"\uD83D\uDE00", r"\\", r"\n", "u", "d83d", r"\u00e9", "a", "\u00e9", r"\ufffd"]
)


def whole(text: str) -> str:
    """A text with each half replaced."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


@given(st.lists(_pieces, max_size=12))
def test_each_half_becomes_one_character(pieces: list[str]) -> None:
    """Whatever stands around it: what a lax reader makes of the text, with the halves replaced."""
    raw = f'{{"a":"{"".join(pieces)}"}}'.encode()
    told = paired(raw)
    assert len(told) == len(raw)
    assert msgspec.json.decode(told) == {"a": whole(json.loads(raw)["a"])}
    if whole(json.loads(raw)["a"]) == json.loads(raw)["a"]:
        assert told is raw


def test_what_has_none_is_the_same_object() -> None:
    """And other mistakes stay: they are raised as they were."""
    good = rb'{"a":"\ud83d\ude00 \\ud83d"}'
    assert paired(good) is good
    with pytest.raises(msgspec.DecodeError):
        mending(msgspec.json.decode, rb'{"a":"\ud83d"')
    with pytest.raises(msgspec.DecodeError):
        mending(msgspec.json.decode, b'{"a":')


def test_hostile_bodies_cost_little() -> None:
    """Millions of halves, of pairs or of backslashes are not worked off one by one."""
    many = 500_000
    began = time.process_time()
    for raw in (rb"\ud83d" * many, rb"\ud83d\ude00" * many + rb"\ud83d", b"\\" * many + rb"\ud83d"):
        paired(b'"' + raw + b'"')
    assert time.process_time() - began < 2
    assert paired(rb"\ud83d" * (HALVES_MAX + 1)) == rb"\ud83d" * (HALVES_MAX + 1)


@pytest.mark.parametrize("dialect", DIALECTS, ids=[one.name for one in DIALECTS])
def test_every_dialect_reads_a_body_with_half_a_character(dialect: object) -> None:
    """It is read, and goes on, with the replacement in its place."""
    fields = dialect.decode(
        rb'{"model":"m","input":"a\ud83d","messages":[{"role":"user","content":"\ude00"}]}'
    )  # type: ignore[attr-defined]  # a Dialect
    assert bytes(fields["input"]) == rb'"a\ufffd"'
    assert rb"\ufffd" in bytes(fields["messages"])


@pytest.mark.parametrize("character", ["a", "\u00e9", "\u6f22", "\U0001f600"])
@pytest.mark.parametrize("shift", range(4))
def test_a_long_text_is_utf8_in_pieces_as_it_is_whole(character: str, shift: int) -> None:
    """A character may be cut by a piece's end; one that is cut by the text's end, or broken, is refused as ever."""
    text = b"x" * shift + character.encode() * (1 << 20)
    check_text(text)
    for broken in (text + b"\xf0\x9f", text[:1_048_570] + b"\xff" + text[1_048_570:]):
        with pytest.raises(UnicodeDecodeError):
            check_text(broken)
