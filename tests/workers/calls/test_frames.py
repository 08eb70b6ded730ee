"""Frames on their way to an edge: what goes out again after a reconnect."""

from schemas.bus.frames import Accept, decode_frame
from workers.calls.frames import FrameWriter


class Wire:
    """A bus that is always up and keeps what is published."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """As Bus."""
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
