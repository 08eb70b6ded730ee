"""Halves of characters in the events of a stream: what is joined, what is left as it is, and what waits no longer."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.json import UNREADABLE
from workers.upstream.halves import EVENTS_MAX, Halves

PLACES = st.integers(0, 2)


def read(halves: Halves, *events: bytes) -> list[Any]:
    """A stream as a family reads it, each event once it can be read."""
    out: list[Any] = []
    for raw in events:
        out += halves.each(msgspec.json.decode, raw)
    return out + [msgspec.json.decode(raw) for _, raw in halves.rest()]


def texts(halves: Halves, *events: bytes) -> str:
    """The text of those events."""
    return "".join(event.get("text", "") for event in read(halves, *events))


def escaped(unit: str) -> str:
    """One UTF-16 unit in JSON."""
    return json.dumps(unit)[1:-1]


@given(
    st.lists(st.tuples(PLACES, st.text(st.characters(codec="utf-8"), max_size=6)), max_size=6),
    st.randoms(use_true_random=False),
)
def test_texts_that_go_on_side_by_side_are_each_whole(said, random):
    """Several texts come in units that are cut anywhere, in turn; each is what was said, by its own index, in order."""
    whole: dict[int, str] = {}
    units: dict[int, list[str]] = {}
    for place, text in said:
        whole[place] = whole.get(place, "") + text
        raw = text.encode("utf-16-le")
        units.setdefault(place, []).extend(
            raw[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(raw), 2)
        )
    events = []
    while left := [place for place, waiting in units.items() if waiting]:
        place = random.choice(left)
        taken = [units[place].pop(0) for _ in range(random.randint(1, len(units[place])))]
        choice = b'{"index":%d,"text":"%b"}' % (place, "".join(map(escaped, taken)).encode())
        events.append(b'{"n":%d,"choices":[%b]}' % (len(events), choice))
    halves, told = Halves(), dict.fromkeys(whole, "")
    seen = read(halves, *events)
    for event in seen:
        (choice,) = event["choices"]
        told[choice["index"]] += choice["text"]
    assert [event["n"] for event in seen] == list(range(len(events)))
    if len(events) <= EVENTS_MAX:
        assert told == whole
    assert not halves.waiting


def test_what_is_right_is_the_same_object():
    """An event without halves is not written anew, whatever waits."""
    halves = Halves()
    assert halves.each(msgspec.json.decode, b'{"index":0,"text":"x\\ud83d"}') == []
    raw = b'{"index": 1,  "text":"\xc3\xa9", "n":1.0000000000000000001}'
    assert halves.ready(raw) == []
    assert halves.rest()[1][1] is raw
    assert halves.ready(raw)[0][1] is raw
    for nonsense in (b"{", b"\xff{", b"[DONE]"):
        assert halves.ready(nonsense, 1) == [(1, nonsense)]


def test_numbers_are_kept_as_they_were_written():
    """An event that is mended loses no digit of another field."""
    (told,) = Halves().ready(
        b'{"id":"\\ud83d","n":[1.0000000000000000001,-0,123456789012345678901234567890,1e9]}'
    )
    assert (
        told[1] == b'{"id":"\xef\xbf\xbd","n":[1.0000000000000000001,-0,123456789012345678901234567890,1e9]}'
    )


CUT = b'{"index":0,"text":"x\\ud83d"}'


def test_a_half_waits_for_its_own_text_alone():
    """What follows elsewhere completes nothing, and any event but a text beside it ends the wait."""
    on = b'{"index":0,"text":"\\ude00y"}'
    beside = b'{"index":1,"text":"-"}'
    assert texts(Halves(), CUT, on) == "x\U0001f600y"
    assert texts(Halves(), CUT, b'{"index":0,"text":"y"}') == "x\ufffdy"
    assert texts(Halves(), CUT, b'{"index":1,"text":"\\ude00"}') == "x\ufffd\ufffd"
    assert texts(Halves(), CUT, beside, beside, on) == "x--\U0001f600y"
    for other in (
        b"{}",
        b'{"refusal":"y"}',
        b'{"index":0,"text":""}',
        b'{"choices":[{"text":"y"}]}',
        b'{"index":0,"text":1}',
    ):
        halves = Halves()
        halves.each(msgspec.json.decode, CUT)
        assert next(event.get("text") for event in halves.each(msgspec.json.decode, other)) == "x\ufffd"
        assert not halves.waiting


def test_what_waits_is_read_before_nonsense():
    """An event that cannot be read comes behind what waited, and is the fault that it was."""
    halves = Halves()
    halves.ready(CUT)
    assert [raw for _, raw in halves.ready(b"[DONE]")] == ['{"index":0,"text":"x\ufffd"}'.encode(), b"[DONE]"]


def test_bytes_that_no_cut_explains_are_nonsense():
    """An event that is no UTF-8 is read only if its texts are, one after the other."""
    for first, then in (
        (b"x\\ud83d", b"\x98\x80"),
        (b"\xf0\x9f", b"\xf0\x9f"),
        (b"x", b"\xff"),
        (b"x", b"\x80y"),
    ):
        with pytest.raises(UNREADABLE):
            read(Halves(), b'{"text":"%b"}' % first, b'{"text":"%b"}' % then)


def test_what_comes_whole_waits_for_nothing():
    """A name, an id and the arguments that are an object have no further piece: half a character is replaced at once."""
    for raw in (
        b'{"id":"\\ud83d"}',
        b'{"args":{"text":"\\ud83d"}}',
        b'{"input":{"x":[{"delta":"\\ud83d"}]}}',
    ):
        halves = Halves()
        assert b"\\ufffd" in json.dumps(halves.each(msgspec.json.decode, raw)).encode()
        assert not halves.waiting


def test_waiting_has_an_end():
    """Only so many events wait: a server cannot hold an answer back for long."""
    halves = Halves()
    beside = b'{"index":1,"text":"-"}'
    told = [len(halves.ready(raw)) for raw in (CUT, *[beside] * EVENTS_MAX)]
    assert told == [0] * EVENTS_MAX + [EVENTS_MAX + 1]
    assert not halves.waiting
