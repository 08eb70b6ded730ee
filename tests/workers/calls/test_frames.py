"""Frames on their way to an edge: what goes out again after a reconnect."""

import time

from runtime.bus.bus import BusError
from schemas.bus.frames import Accept, Failed, decode_frame
from schemas.errors import internal
from workers.calls.frames import FrameWriter


class Wire:
    """A bus that keeps what is published, while it is up."""

    def __init__(self) -> None:
        self.connected = True
        self.sent: list[bytes] = []

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """As Bus."""
        if not self.connected:
            raise BusError("away")
        self.sent.append(data)


def test_an_accept_goes_out_again_until_a_frame_behind_it_is_consumed() -> None:
    """An edge that sends a large body learns of each reconnect of its worker: it sends the body again."""
    wire = Wire()
    frames = FrameWriter(wire, "inbox", "worker.w")
    frames.accept("w")
    for through, again in ((-1, 1), (-1, 1), (0, 0)):
        frames.credit(through)
        wire.sent.clear()
        frames.reconnected()
        assert [decode_frame(data) for data in wire.sent] == [Accept(0, "w")] * again


def test_word_that_a_call_is_recorded_waits_for_the_bus() -> None:
    """An edge follows a call whose caller has left, and counts it, until it hears this: a bus that is away delays it alone."""
    wire = Wire()
    frames = FrameWriter(wire, "inbox", "worker.w")
    frames.accept("w")
    frames.data(b"never mind")
    frames.mute()
    wire.sent.clear()
    wire.connected = False
    frames.over(internal())
    assert not frames.settled
    frames.tick(time.monotonic())
    assert not wire.sent
    wire.connected = True
    frames.tick(time.monotonic())
    (only,) = map(decode_frame, wire.sent)
    assert isinstance(only, Failed)


def test_word_that_went_out_is_not_kept() -> None:
    """Nothing lingers of a call whose edge has been told."""
    wire = Wire()
    frames = FrameWriter(wire, "inbox", "worker.w")
    frames.accept("w")
    frames.over(internal())
    assert isinstance(decode_frame(wire.sent[-1]), Failed)
    assert frames.settled
    wire.sent.clear()
    frames.reconnected()
    assert not wire.sent
