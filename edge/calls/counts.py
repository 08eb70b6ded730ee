"""Owns counts of tokens that a provider makes itself: asked of a worker for nothing, and never waited for long."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from runtime.bus.bus import Message
from schemas.bus import frames, subjects
from schemas.bus.frames import FRAME_BYTES_MAX, VERSION, Data, Job
from schemas.bus.usage import TOKENS_MAX
from schemas.catalogue.model import Model
from schemas.dialects.messages.counting import COUNT, COUNT_S

AT_ONCE_MAX: Final = 64  # counts of one edge that are waited for
BODY_BYTES_MAX: Final = FRAME_BYTES_MAX  # a larger one is estimated

Publish = Callable[[str, Job], bool]


class Counts:
    """The counts under way: one a key. `publish` offers one to the workers of a pool, and says whether it could."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._waiting: dict[str, asyncio.Future[int | None]] = {}
        self._keys: set[str] = set()  # whose counts they are, by scope

    async def ask(
        self, model: Model, body: bytes, scope: str, headers: tuple[tuple[str, str], ...]
    ) -> int | None:
        """What a model's provider counts for a body of Messages; None where it has not said so in COUNT_S.

        Nothing is asked for a key whose last count is under way, nor beyond AT_ONCE_MAX or BODY_BYTES_MAX.
        """
        if scope in self._keys or len(self._waiting) >= AT_ONCE_MAX or len(body) > BODY_BYTES_MAX:
            return None
        job = _job(model, body, scope, headers)
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._waiting[job.request_id] = future
        self._keys.add(scope)
        try:
            if not self._publish(model.pool, job):
                return None
            async with asyncio.timeout(COUNT_S):
                return await future
        except TimeoutError:
            return None
        finally:
            self._keys.discard(scope)
            del self._waiting[job.request_id]

    def hears(self, request_id: str, message: Message) -> bool:
        """Whether a message is the answer to a count: it is taken in then."""
        future = self._waiting.get(request_id)
        if future is None:
            return False
        if not future.done():
            future.set_result(_counted(message))
        return True


def _job(model: Model, body: bytes, scope: str, headers: tuple[tuple[str, str], ...]) -> Job:
    return Job(
        v=VERSION,
        request_id=subjects.new_id("n"),
        attempt=1,
        dialect=COUNT,
        model=model.id,
        upstream=model.upstream,
        stream=False,
        include_usage=False,
        include_cost=False,
        limit=model.max_output,
        write_limit=False,
        prompt_max=model.context,
        text_bytes=0,
        choices=1,
        hold_list_nano=0,
        deadline_s=COUNT_S,
        published_ms=time.time_ns() // 1_000_000,
        body=body,
        body_bytes=len(body),
        scope=scope,
        headers=headers,
    )


def _counted(message: Message) -> int | None:
    """The figure in a worker's answer; None for anything else, as that nobody was there."""
    if message.no_responders:
        return None
    try:
        frame = frames.decode_frame(message.data)
    except msgspec.MsgspecError:
        return None
    if not isinstance(frame, Data) or not frame.data.isdigit() or len(frame.data) > len(str(TOKENS_MAX)):
        return None
    return int(frame.data)
