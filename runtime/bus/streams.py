"""Owns the ways of asking JetStream over the bus: its API, and the words that answer a message of a consumer."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from runtime.bus.bus import Bus
from schemas.bus.subjects import JETSTREAM_API

TIMEOUT_S: Final = 5.0
NAME_IN_USE: Final = 10_058
NO_CONSUMER: Final = 10_014
NANO: Final = 1_000_000_000
ACK: Final = b"+ACK"
_encode = msgspec.json.Encoder().encode


class StreamProblem(Exception):  # noqa: N818  the name says what is the case
    """JetStream refused: what it said, and its code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class _Error(Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Answer(Struct):
    error: _Error | None = None


class Delivered(Struct, frozen=True):
    """What an ack subject says of its message: the stream's sequence, and how often it was delivered, this time included."""

    sequence: int
    times: int


_decode_answer = msgspec.json.Decoder(_Answer).decode


async def ask(bus: Bus, api: str, body: dict[str, Any] | None = None) -> bytes:
    """JetStream's answer as it came. Raises StreamProblem, BusError."""
    reply = await bus.request(f"{JETSTREAM_API}.{api}", _encode(body) if body is not None else b"", TIMEOUT_S)
    error = _decode_answer(reply).error
    if error is not None:
        text = f"{api}: {error.description} ({error.code}/{error.err_code})"
        raise StreamProblem(text, error.err_code)
    return reply


def later(delay_s: float) -> bytes:
    """The word that has a message delivered again, after so many seconds."""
    return b"-NAK " + _encode({"delay": int(delay_s * NANO)})


def delivered(ack_subject: str) -> Delivered | None:
    """Of a message's ack subject; None if it is not one."""
    parts = ack_subject.split(".")
    # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.…, or with <domain>.<account hash> after ACK.
    at = 4 if len(parts) == 9 else 6
    if len(parts) < 9 or not (parts[at].isdecimal() and parts[at + 1].isdecimal()):
        return None
    return Delivered(int(parts[at + 1]), int(parts[at]))
