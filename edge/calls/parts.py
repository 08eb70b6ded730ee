"""Owns how a request body that is too large for its job reaches the worker: in parts, a few at a time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from edge.calls.host import CallView
from runtime.bus.bus import Bus, BusDown, BusFull
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
        current = call.current
        return self._send(call, current.worker_id, current.number, current.inbox, call.parts_body)

    async def _send(self, call: CallView, worker_id: str, attempt: int, inbox: str, body: bytes) -> None:
        subject = subjects.control(worker_id)
        for index, start in enumerate(range(0, len(body), FRAME_BYTES_MAX)):
            if (
                index
                and index % PARTS_IN_FLIGHT_MAX == 0
                and not await self._echo(call, worker_id, attempt, inbox)
            ):
                return
            part = frames.encode(Part(call.request_id, attempt, index, body[start : start + FRAME_BYTES_MAX]))
            while not (call.left or call.ended) and call.current.number == attempt:
                try:
                    self._bus.publish(subject, part)
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

    async def _echo(self, call: CallView, worker_id: str, attempt: int, inbox: str) -> bool:
        """Waits until the worker has taken the parts sent so far: nats-server cuts a reader that falls far behind.

        The answer to a probe comes after all that was sent before it. False if none comes in time.
        """
        name = (call.request_id, attempt)
        echo: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if (older := self._echoes.get(name)) is not None and not older.done():
            older.set_result(False)  # the body is sent again, from its first part
        self._echoes[name] = echo
        try:
            async with asyncio.timeout(PARTS_TIMEOUT_S):
                await self._bus.room(PARTS_TIMEOUT_S)
                self._bus.publish(subjects.control(worker_id), frames.encode(Probe()), inbox)
                return await echo
        except TimeoutError:
            return False  # the worker gives the body up, and says so
        finally:
            if self._echoes.get(name) is echo:
                del self._echoes[name]
