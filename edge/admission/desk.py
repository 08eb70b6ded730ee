"""Owns where bodies are parsed and priced: light ones at once, heavy ones beside the loop, one at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from edge.http.intake import Body
from edge.limits import Limits
from schemas.chat.priced import RequestError
from schemas.errors import unavailable

Result = TypeVar("Result")

# What is read at once on the loop: all that is done with the dearest of these takes some 30 ms.
LIGHT_BYTES: Final = 256 * 1024
LIGHT_VALUES: Final = 4_096


class Desk:
    """Reads bodies. The thread has no I/O: only what decodes, checks and counts, in calls that let the loop in between.

    What that takes in memory is bounded by there being one: measured, at most five times the bytes of a body (its
    texts, its media, a translation) and 256 bytes for each of its values.
    """

    def __init__(self, limits: Limits) -> None:
        self._wait_s = limits.desk_s
        self._turn = asyncio.Lock()
        self._thread: ThreadPoolExecutor | None = None

    async def read(self, body: Body, work: Callable[[], Result]) -> Result:
        """What `work` makes of a body. Raises what it raises, and RequestError 503 without time for it."""
        if body.size <= LIGHT_BYTES and body.values <= LIGHT_VALUES:
            return work()
        await self._take_turn()
        try:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "desk")
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._turn.release()

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turn.acquire()
        except TimeoutError:
            message = "The gateway has too many large request bodies to read. Retry with backoff."
            raise RequestError(unavailable(message)) from None

    def close(self) -> None:
        """Drops what waits."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
