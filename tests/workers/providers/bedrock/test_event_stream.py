import struct
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import bedrock_frames as aws_frames
from workers.providers.bedrock.event_stream import FrameBuffer, FrameError

MESSAGE_STOP = bytes.fromhex(
    "0000007a00000051ca2c46650b3a6576656e742d7479706507000b6d65737361676553746f700d3a636f6e74656e742d74797065"
    "0700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b2273746f70526561736f"
    "6e223a22656e645f7475726e227d5fbf09fc"
)
THROTTLING = bytes.fromhex(
    "0000008300000061a9d144e50f3a657863657074696f6e2d747970650700137468726f74746c696e67457863657074696f6e0d3a"
    "636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d7479706507000965786365"
    "7074696f6e7b226d657373616765223a22736c6f77227d9350311c"
)


def read(data: bytes, piece_bytes: int) -> list[tuple[str, str, bytes]]:
    buffer = FrameBuffer()
    out = []
    for start in range(0, len(data), piece_bytes):
        out += [(h.kind, h.name, p) for h, p in buffer.frames(data[start : start + piece_bytes])]
    assert not buffer.pending
    return out


def test_golden_frames_of_aws_are_read_and_our_test_encoder_writes_the_same_bytes():
    """The two frames that were taken from botocore's own tests of the format."""
    assert len(MESSAGE_STOP) == 122
    assert len(THROTTLING) == 131
    for piece_bytes in (1, 7, 1000):
        assert read(MESSAGE_STOP + THROTTLING, piece_bytes) == [
            ("event", "messageStop", b'{"stopReason":"end_turn"}'),
            ("exception", "throttlingException", b'{"message":"slow"}'),
        ]
    assert aws_frames.event("messageStop", {"stopReason": "end_turn"}) == MESSAGE_STOP
    assert aws_frames.exception("throttlingException", "slow") == THROTTLING


@given(payloads=st.lists(st.binary(max_size=200), max_size=6), cuts=st.lists(st.integers(1, 90), min_size=1))
def test_any_cut_of_any_frames_gives_what_botocore_gives(payloads, cuts):
    """Frames split and coalesce arbitrarily; the result is botocore's own."""
    head = {":event-type": "chunk", ":message-type": "event"}
    data = b"".join(aws_frames.encode_frame(head, payload) for payload in payloads)
    theirs = EventStreamBuffer()
    theirs.add_data(data)
    expected = [("event", m.headers[":event-type"], m.payload) for m in theirs]
    buffer, out, at, turn = FrameBuffer(), [], 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        out += [(h.kind, h.name, p) for h, p in buffer.frames(data[at : at + size])]
        at, turn = at + size, turn + 1
    assert out == expected


@given(position=st.integers(0, len(MESSAGE_STOP) - 1), flip=st.integers(1, 255))
def test_a_flipped_byte_is_never_taken_for_a_frame(position, flip):
    """Whatever byte is wrong, the frame before it is read and this one is not."""
    bad = bytearray(MESSAGE_STOP)
    bad[position] ^= flip
    frames = FrameBuffer().frames(THROTTLING + bytes(bad))
    assert next(frames)[0].name == "throttlingException"
    with pytest.raises(FrameError):
        next(frames)


def test_impossible_lengths_are_refused_before_anything_is_kept():
    """A frame that claims more than AWS allows ends the stream at its first twelve bytes."""
    for lengths in ((15, 0), (2**31, 0), (300_000, 200_000), (40, 30)):
        raw = struct.pack(">II", *lengths)
        with pytest.raises(FrameError):
            list(FrameBuffer().frames(raw + struct.pack(">I", crc32(raw))))


def test_headers_that_cannot_be_read_are_refused():
    """Unknown header types, truncated ones, and frames that do not say what they are."""
    for raw in (b"\x01a\x63", b"\x01a\x07\x00", aws_frames.encode_headers({":event-type": "x"})):
        lengths = struct.pack(">II", len(raw) + 16, len(raw))
        message = lengths + struct.pack(">I", crc32(lengths)) + raw
        with pytest.raises(FrameError):
            list(FrameBuffer().frames(message + struct.pack(">I", crc32(message))))


def test_a_stream_that_ends_inside_a_frame_says_so():
    """`pending` tells an end between frames from one inside a frame."""
    buffer = FrameBuffer()
    assert list(buffer.frames(MESSAGE_STOP[:60])) == []
    assert buffer.pending
    assert len(list(buffer.frames(MESSAGE_STOP[60:]))) == 1
    assert not buffer.pending
