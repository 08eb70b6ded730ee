"""Owns what a bus hands over: messages, and the errors of sending them."""

from msgspec import Struct


class BusError(Exception):
    """A message that could not be sent or answered."""


class BusDown(BusError):  # noqa: N818  the names are the contract of this module
    """Not connected, or the connection was lost before the reply came. Nothing is sent later."""


class BusFull(BusError):  # noqa: N818  as BusDown
    """A bound is reached: bytes waiting for the socket, or requests waiting for replies."""


class BusTimeout(BusError):  # noqa: N818  as BusDown
    """No reply in time."""


class BusDenied(BusError):  # noqa: N818  as BusDown
    """The server refuses this subject to this role."""


class BusRejected(BusError):  # noqa: N818  as BusDown
    """JetStream did not store the message."""


class NoResponders(BusError):  # noqa: N818  as BusDown
    """Nobody listens on the subject."""


class PayloadTooLarge(BusError):  # noqa: N818  as BusDown
    """The message is larger than the server takes; it was not sent."""


class Message(Struct):
    """One message. `no_responders` means that nobody heard what was published with this subject as its reply.

    `status` is the server's in-line status (503, and JetStream's 100, 404, 408, 409), 0 without one; `headers` is the
    raw block.
    """

    subject: str
    reply: str
    data: bytes
    no_responders: bool = False
    status: int = 0
    headers: bytes = b""


def message_of(subject: bytes, reply: bytes, headers: bytes, data: bytes) -> Message:
    """A message of the bytes that the server sent."""
    if not headers:
        return Message(subject.decode(), reply.decode(), data)
    # "NATS/1.0 503\r\n\r\n": the status stands at a fixed place.
    digits = headers[9:12]
    status = int(digits) if headers[8:9] == b" " and digits.isdigit() else 0
    return Message(subject.decode(), reply.decode(), data, status == 503 and not data, status, headers)
