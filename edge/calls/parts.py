"""Owns how a request body that is too large for its job reaches the worker: in parts, a few at a time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from msgspec import structs

from edge.calls.host import AttemptView, CallView
from runtime.bus.bus import Bus, BusDown, BusFull
from runtime.sealing import Writer
from schemas.bus import frames, subjects
from schemas.bus.frames import FRAME_BYTES_MAX, Part, Probe

PARTS_IN_FLIGHT_MAX = 4  # pieces of one request body that its worker has not taken yet
PARTS_TIMEOUT_S = 10.0


class Parts:
    """Sends large bodies for one edge."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._echoes: dict[tuple[str, int], asyncio.Future[bool]] = {}

    def send(self, call: CallView) -> Coroutine[Any, Any, None]:
        """Sends the whole body of a call to the worker that has its current attempt, as long as that lasts."""
        return self._send(call, call.current, call.parts_body)

    async def _send(self, call: CallView, current: AttemptView, body: bytes) -> None:
        subject = subjects.control(current.worker_id)
        try:
            seal = Writer(current.seal) if current.seal else None  # a worker of the last version names no key
        except ValueError:
            return  # the worker gives the body up, and says so
        name = f"{call.request_id}.{current.number}"
        for index, start in enumerate(range(0, len(body), FRAME_BYTES_MAX)):
            if index and index % PARTS_IN_FLIGHT_MAX == 0 and not await self._echo(call, current):
                return
            piece = body[start : start + FRAME_BYTES_MAX]
            part = Part(call.request_id, current.number, index, piece)
            if seal is not None:
                part = structs.replace(part, data=seal.seal(name, index, piece), sealed_by=seal.public)
            data = frames.encode(part)
            while not (call.left or call.ended) and call.current.number == current.number:
                try:
                    self._bus.publish(subject, data)
                    break
                except BusFull:
                    await self._bus.room(PARTS_TIMEOUT_S)
                except BusDown:
                    return  # all of them are sent again after the reconnect

    def echoed(self, request_id: str, attempt: int) -> None:
        """An empty frame: a worker has answered a probe, and so has taken what was sent before it."""
        echo = self._echoes.get((request_id, attempt))
        if echo is not None and not echo.done():
            echo.set_result(True)

    async def _echo(self, call: CallView, current: AttemptView) -> bool:
        """Waits until the worker has taken the parts sent so far: nats-server cuts a reader that falls far behind.

        The answer to a probe comes after all that was sent before it. False if none comes in time.
        """
        name = (call.request_id, current.number)
        echo: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if (older := self._echoes.get(name)) is not None and not older.done():
            older.set_result(False)  # the body is sent again, from its first part
        self._echoes[name] = echo
        try:
            async with asyncio.timeout(PARTS_TIMEOUT_S):
                await self._bus.room(PARTS_TIMEOUT_S)
                self._bus.publish(subjects.control(current.worker_id), frames.encode(Probe()), current.inbox)
                return await echo
        except TimeoutError:
            return False  # the worker gives the body up, and says so
        finally:
            if self._echoes.get(name) is echo:
                del self._echoes[name]
