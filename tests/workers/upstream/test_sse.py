"""Framing of an upstream's events: bounded whatever it sends."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.upstream import sse
from workers.upstream.sse import EventReader, EventTooLargeError

BYTES_MAX = 64 * 1024


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", BYTES_MAX)


@pytest.mark.parametrize(
    "piece", [b"data:\n" * 100, b"data: x\n" * 100, b"data: " + b"x" * 594, b"data:\r" * 100]
)
def test_an_event_that_never_ends_is_refused(piece: bytes) -> None:
    """A line, or lines, without the blank line that ends an event: refused at the bound, empty ones too."""
    reader = EventReader()
    taken = 0
    with contextlib.suppress(EventTooLargeError):
        while taken < 4 * BYTES_MAX:
            assert reader.feed(piece) == []
            taken += len(piece)
    assert taken <= BYTES_MAX


def test_events_beside_one_another_do_not_add_up() -> None:
    """Any number of events passes: only what has not ended counts."""
    reader = EventReader()
    event = b"data: a\ndata: b\n\n"
    for _ in range(10):
        assert len(reader.feed(event * 2_000 + b"data: half")) == 2_000
        assert reader.feed(b"\n\n") == [b"half"]


@pytest.mark.parametrize("split", [1, 2, 3, 100])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_byte_order_mark_hides_no_event(split: int, end: bytes) -> None:
    """A mark at the start, or where a proxy joined two streams, is no part of a line, wherever it is cut."""
    mark = b"\xef\xbb\xbf"
    data = (mark + b"data: a\n\n" + mark + b"data: b\n\ndata: c\n\n").replace(b"\n", end)
    reader = EventReader()
    events = [event for at in range(0, len(data), split) for event in reader.feed(data[at : at + split])]
    assert events == [b"a", b"b", b"c"]


LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data: ",
        b"data: data: c",
        b"event: x",
        b"event: x\ry",
        b"event:",
        b": ping",
        b"id: 1",
        b"x",
        b"",
    ]
)


@given(st.lists(LINES, max_size=12))
def test_names_change_nothing(lines: list[bytes]) -> None:
    """Whole reads are read in a quicker way, and to the same events as bytes that come one by one."""
    raw = b"".join(line + b"\n" for line in lines) + b"\n"
    slow = EventReader()
    expected = [event for at in range(len(raw)) for event in slow.feed(raw[at : at + 1])]
    assert EventReader().feed(raw) == expected
