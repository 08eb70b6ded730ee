"""Owns where bodies are parsed and priced: light ones at once, heavy ones beside the loop, one at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from edge.budget import Budget
from edge.http.intake import Body
from edge.limits import Limits
from schemas.chat.priced import RequestError
from schemas.errors import unavailable

Result = TypeVar("Result")

# What is read at once on the loop: all that is done with one of these takes a few milliseconds.
LIGHT_BYTES: Final = 256 * 1024
LIGHT_VALUES: Final = 8_192
# What a heavy body takes in memory while it is read, measured: its fields, its decoded texts, a translation.
COPIES: Final = 4
VALUE_BYTES: Final = 256


class Desk:
    """Reads bodies. The thread has no I/O: only what decodes, checks and counts, in calls that let the loop in between."""

    def __init__(self, budget: Budget, limits: Limits) -> None:
        self._budget = budget
        self._wait_s = limits.desk_s
        self._turn = asyncio.Lock()
        self._thread: ThreadPoolExecutor | None = None

    async def read(self, body: Body, work: Callable[[], Result]) -> Result:
        """What `work` makes of a body. Raises what it raises, and RequestError 503 without time or memory for it."""
        if body.size <= LIGHT_BYTES and body.values <= LIGHT_VALUES:
            return work()
        await self._take_turn()
        try:
            return await self._beside(work, COPIES * body.size + VALUE_BYTES * body.values)
        finally:
            self._turn.release()

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turn.acquire()
        except TimeoutError:
            message = "The gateway has too many large request bodies to read. Retry with backoff."
            raise RequestError(unavailable(message)) from None

    async def _beside(self, work: Callable[[], Result], needed_bytes: int) -> Result:
        if not self._budget.take(needed_bytes):
            message = "The gateway has too many request bodies in memory. Retry with backoff."
            raise RequestError(unavailable(message))
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "desk")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._budget.give_back(needed_bytes)

    def close(self) -> None:
        """Drops what waits."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
