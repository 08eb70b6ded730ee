"""Properties of counting a JSON text before it is parsed: exact outside of strings, whatever the pieces, and bounded."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.shape import (
    ARRAYS_MAX,
    ESCAPES_MAX,
    KEYS_MAX,
    OBJECTS_MAX,
    SHORT_BYTES,
    VALUES_MAX,
    Glance,
    Shape,
    TangledError,
    check,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "http-api.md"

texts = st.text(alphabet='\\"{}[],:ab\n\u00e9\U0001f600', max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def count(value: Any) -> tuple[int, int, int, int]:
    """Keys, objects, arrays and values in a JSON value, itself included."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    found = [count(one) for one in inner]
    keys, objects, arrays, all_values = (sum(column) for column in zip((0, 0, 0, 0), *found, strict=True))
    is_object, is_array = isinstance(value, dict), isinstance(value, list)
    return keys + is_object * len(inner), objects + is_object, arrays + is_array, all_values + 1


def fed(text: bytes, size: int) -> Shape:
    """The shape of a text that came in pieces of a size."""
    shape = Shape()
    for start in range(0, len(text), size):
        shape.feed(text[start : start + size])
    return shape


@given(values, st.booleans(), st.integers(1, 40))
def test_counts_are_exact_in_any_pieces(value: Any, ascii_only: bool, size: int) -> None:
    """Keys, objects and arrays are those of the value, in pieces of any size; values are counted in bounds."""
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    shape = fed(text, size)
    keys, objects, arrays, all_values = count(value)
    assert (shape.keys, shape.objects, shape.arrays) == (keys, objects, arrays)
    assert all_values <= shape.values <= all_values + objects + arrays
    assert shape.escapes == fed(text, len(text)).escapes


def listed(unit: bytes, most: int) -> bytes:
    return b"[" + b",".join([unit] * most) + b"]"


@pytest.mark.parametrize(
    ("most", "more", "what"),
    [
        (
            b"{" + b",".join([b'"a":1'] * KEYS_MAX) + b"}",
            b"{" + b",".join([b'"a":1'] * (KEYS_MAX + 1)) + b"}",
            KEYS_MAX,
        ),
        (listed(b"{}", OBJECTS_MAX), listed(b"{}", OBJECTS_MAX + 1), OBJECTS_MAX),
        (listed(b"[]", ARRAYS_MAX - 1), listed(b"[]", ARRAYS_MAX), ARRAYS_MAX),
        (listed(b"1", VALUES_MAX - 1), listed(b"1", VALUES_MAX), VALUES_MAX),
        (b'"' + b"\\u0041" * ESCAPES_MAX + b'"', b'"' + b"\\n" * (ESCAPES_MAX + 1) + b'"', ESCAPES_MAX),
    ],
    ids=["keys", "objects", "arrays", "values", "escapes"],
)
def test_each_limit_is_exact_and_named(most: bytes, more: bytes, what: int) -> None:
    """The most of each kind passes, and one more is refused with the limit in words."""
    check(most)
    with pytest.raises(TangledError, match=f"^more than {what} "):
        check(more)


@given(values, st.booleans(), st.integers(1, 40))
def test_a_glance_never_counts_less(value: Any, ascii_only: bool, size: int) -> None:
    """What a glance finds within the limits is: it counts at least what there is, in any pieces."""
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    glance, shape = Glance(), fed(text, size)
    for start in range(0, len(text), size):
        assert glance.feed(text[start : start + size])
    assert glance.keys >= shape.keys
    assert glance.objects_or_arrays >= shape.objects + shape.arrays
    assert glance.values >= shape.values
    assert glance.escapes >= shape.escapes


@pytest.mark.parametrize(
    ("unit", "most"),
    [(b":", KEYS_MAX), (b"{", OBJECTS_MAX), (b"[", ARRAYS_MAX), (b",", VALUES_MAX - 1), (b"\\", ESCAPES_MAX)],
)
def test_a_glance_is_sure_up_to_each_limit(unit: bytes, most: int) -> None:
    """As long as nothing is beyond its limit, wherever it stands, a glance will do; no longer."""
    glance = Glance()
    assert glance.feed(unit * most)
    assert not glance.feed(unit)


def test_a_short_text_is_within_every_limit() -> None:
    """Texts that nobody counts cannot hold more than is parsed."""
    assert min(KEYS_MAX, OBJECTS_MAX, ARRAYS_MAX, VALUES_MAX, ESCAPES_MAX) >= SHORT_BYTES


def test_the_documents_name_each_limit() -> None:
    """What callers read of the limits is what is counted."""
    section = DOCUMENT.read_text().partition("## Limits of a body")[2]
    told = {int(cell.replace(",", "")) for cell in re.findall(r"\| ([\d,]+) \|", section)}
    assert told == {KEYS_MAX, OBJECTS_MAX, ARRAYS_MAX, VALUES_MAX, ESCAPES_MAX}


MANY_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{number}",
            "parameters": {
                "type": "object",
                "properties": {
                    f"field_{at}": {"type": "string", "description": "x" * 90} for at in range(150)
                },
            },
        },
    }
    for number in range(128)
]


@pytest.mark.parametrize(
    "body",
    [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"image_url": {"url": "data:image/png;base64," + "iVBORw0K" * (20 << 17)}}],
                }
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi [{,:"}]}] * 10_000},
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
                }
            ]
            * 10_000
        },
        {"input": ["a sentence, or two"] * 2_048},
        {"input": [[100_000] * 255] * 2_048},
        {"tools": MANY_TOOLS},
        {"input": 'def f(x):\n\treturn ["x", {}]\n' * 300_000},
        {"input": "\u6f22\u5b57" * 1_000_000},
    ],
    ids=["picture", "messages", "tool calls", "inputs", "token arrays", "tools", "code", "escaped text"],
)
def test_what_people_send_passes(body: Any) -> None:
    """The largest bodies that callers really send are within every limit."""
    check(json.dumps(body).encode())
