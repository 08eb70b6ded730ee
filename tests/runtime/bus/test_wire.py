import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bus.wire import CONTROL_LINE_MAX, Parser, ProtocolError


class Seen:
    """Keeps what a parser says."""

    def __init__(self) -> None:
        self.all: list[tuple] = []

    def on_message(self, sid, subject, reply, headers, data) -> None:
        """One message."""
        self.all.append((sid, subject, reply, headers, data))

    def on_control(self, line) -> None:
        """One control line."""
        self.all.append((line,))


def wire(item: tuple) -> bytes:
    """One item as the server writes it."""
    if len(item) == 1:
        return item[0] + b"\r\n"
    sid, subject, reply, headers, data = item
    words = [b"HMSG" if headers else b"MSG", subject, b"%d" % sid]
    words += [reply] if reply else []
    words += [b"%d" % len(headers)] if headers else []
    return b" ".join([*words, b"%d" % (len(headers) + len(data))]) + b"\r\n" + headers + data + b"\r\n"


_subject = st.sampled_from([b"a", b"_INBOX.e1.f.call.1", b"MSG.1", b"PING"])
_data = st.binary(max_size=40) | st.sampled_from([b"\r\n", b"MSG a 1 3\r\n", b"PING\r\n", b"-ERR\r\n"])
_message = st.tuples(
    st.integers(1, 2**31),
    _subject,
    st.sampled_from([b"", b"worker.w1"]),
    st.sampled_from([b"", b"NATS/1.0 503\r\n\r\n"]),
    _data,
)
_control = st.sampled_from(
    [(b"PING",), (b"PONG",), (b"+OK",), (b"-ERR 'Slow Consumer'",), (b'INFO {"a":1}',)]
)


@given(st.lists(_message | _control, max_size=20), st.lists(st.integers(1, 30), min_size=1, max_size=50))
def test_any_cut_of_the_stream_gives_the_same_messages(items, cuts):
    """However the bytes are cut, each message and control line comes out once, whole and in order."""
    stream = b"".join(wire(item) for item in items)
    seen = Seen()
    parser = Parser(seen)
    at = 0
    turn = 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        parser.feed(stream[at : at + step])
        at += step
        turn += 1
    assert seen.all == items


def test_a_large_message_in_small_reads_is_copied_once():
    """Bytes of a message that is not whole yet are kept, not parsed again and again."""
    seen = Seen()
    parser = Parser(seen)
    stream = wire((1, b"a", b"", b"", bytes(1_000_000)))
    parsed = 0
    inner = parser._parse

    def counted(data: bytes) -> int:
        nonlocal parsed
        parsed += 1
        return inner(data)

    parser._parse = counted
    for at in range(0, len(stream), 1_000):
        parser.feed(stream[at : at + 1_000])
    assert len(seen.all) == 1
    assert parsed <= 3


@pytest.mark.parametrize(
    "stream", [b"MSG a x 3\r\nabc\r\n", b"MSG\r\n", b"HMSG a 1 3\r\n", b"A" * (CONTROL_LINE_MAX + 1)]
)
def test_nonsense_is_a_protocol_error(stream):
    """A malformed message line, or a control line without an end, is refused."""
    with pytest.raises(ProtocolError):
        Parser(Seen()).feed(stream)
