"""Owns what `tokn up` and a child tell each other: settings and what to do with them in frames, answers in lines."""

import asyncio
import itertools
import json
import os
import socket
from collections.abc import Awaitable

import msgspec
from msgspec import Raw, Struct

from runtime import log
from runtime.reload import Live, Outcome
from runtime.settings.changes import Change
from runtime.settings.settings import Settings, SettingsError, decode, encode

FRAME_BYTES_MAX = 64 * 1024 * 1024
ERROR_CHARS_MAX = 2_000
ASKED_S = 240.0  # for a reload that a child asks for: every service is given its time for it
_LENGTH_BYTES = 4


class Handed(Struct, frozen=True, tag="prepare"):
    """Settings to get ready for; a child's first are what it starts with."""

    generation: int
    settings: Raw


class Switched(Struct, frozen=True, tag="switch"):
    """What was prepared under this number holds from now on; `changes` are what differs."""

    generation: int
    changes: tuple[Change, ...] = ()


class Dropped(Struct, frozen=True, tag="drop"):
    """Nothing holds from now on but what held before; `ok` is None after a check, and False for a reason: `why`."""

    generation: int
    ok: bool | None = None
    why: str = ""


class Answered(Struct, frozen=True, tag="answer"):
    """What came of a reload that a child has asked for under this number; `error` is why nothing has changed."""

    number: int
    generation: int = 0
    changes: tuple[Change, ...] = ()
    error: str = ""


Frame = Handed | Switched | Dropped | Answered


class Told(Struct, omit_defaults=True):
    """One line of a child: its metrics port, its answer to a frame with why it could not do it, or a reload that it asks for."""

    metrics_port: int = 0
    generation: int = 0
    to: str = ""  # the tag of the frame
    error: str = ""
    asks: int = 0  # the number of what it asks for
    check: bool = False  # it asks only whether a reload could be made


class HandingError(Exception):
    """What a parent handed over cannot be read."""


_decode_frame = msgspec.json.Decoder(Frame).decode


def handed(generation: int, settings: Settings) -> Handed:
    """The frame with these settings."""
    return Handed(generation, Raw(encode(settings)))


def packed(frame: Frame) -> bytes:
    """A frame as it is sent."""
    body = msgspec.json.encode(frame)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def first(fd: int) -> tuple[int, Settings]:
    """The generation and settings that a child starts with; waits for them. Raises HandingError."""
    try:
        frame = _decode_frame(_exactly(fd, int.from_bytes(_exactly(fd, _LENGTH_BYTES), "big")))
        if not isinstance(frame, Handed):
            raise HandingError("they are not settings")
        return frame.generation, decode(bytes(frame.settings))
    except (OSError, msgspec.MsgspecError) as error:
        raise HandingError(str(error)) from None


def _exactly(fd: int, size: int) -> bytes:
    if size > FRAME_BYTES_MAX:
        raise HandingError("they are too long")
    pieces = bytearray()
    while len(pieces) < size:
        piece = os.read(fd, size - len(pieces))
        if not piece:
            raise HandingError("they end too early")
        pieces += piece
    return bytes(pieces)


def tell(told: Told) -> None:
    """Writes a line to the parent."""
    log.tell(json.dumps(msgspec.to_builtins(told)) + "\n")


class Asking:
    """The reloads that a child has its parent make, each under a number of its own."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answered]] = {}

    async def ask(self, check: bool) -> Outcome:
        """Has the parent reload, or with `check` only look. Raises SettingsError with why it did not."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            tell(Told(asks=number, check=check))
            async with asyncio.timeout(ASKED_S):
                came = await answer
        except TimeoutError:
            raise SettingsError(f"tokn up has not answered for {ASKED_S:g} s: its log says more") from None
        finally:
            del self._waiting[number]
        if came.error:
            raise SettingsError(came.error)
        return Outcome(came.generation, came.changes)

    def answered(self, came: Answered) -> None:
        """The parent has done what was asked for."""
        waiting = self._waiting.get(came.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(came)


async def obey(live: Live, asking: Asking, fd: int) -> None:
    """Does what the parent's frames say, one after the other, until it hangs up."""
    reader, writer = await asyncio.open_unix_connection(
        sock=socket.socket(fileno=os.dup(fd)), limit=FRAME_BYTES_MAX
    )
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
            frame = _decode_frame(await reader.readexactly(size))
            if isinstance(frame, Handed):
                settings = decode(bytes(frame.settings))
                error = await _done(live.prepare(frame.generation, settings))
                tell(Told(generation=frame.generation, to="prepare", error=error))
            elif isinstance(frame, Switched):
                error = await _done(live.switch(frame.generation, frame.changes))
                tell(Told(generation=frame.generation, to="switch", error=error))
            elif isinstance(frame, Answered):
                asking.answered(frame)
            else:
                await live.drop(frame.generation, ok=frame.ok, why=frame.why)
    except asyncio.IncompleteReadError:
        return  # the parent has ended, and soon this process does
    finally:
        writer.close()


async def _done(work: Awaitable[None]) -> str:
    """Why something could not be done; empty if it was."""
    try:
        await work
    except SettingsError as error:
        return str(error)[:ERROR_CHARS_MAX]
    except Exception as error:  # noqa: BLE001  whatever it is, the parent learns of it
        log.get_logger("tokn.handing").exception("a reload failed")
        return f"it failed: {type(error).__name__}"
    return ""
