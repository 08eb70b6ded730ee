"""Owns the bucket of finished items: it is in memory, so it is made again whenever a server of NATS has lost it."""

import asyncio
from typing import Any, Final

from ledger.stream.jetstream import make_stream, stream_config
from runtime.bus.bus import Bus, BusError
from runtime.bus.streams import StreamProblem
from runtime.log import get_logger
from schemas.bus import subjects
from schemas.bus.subjects import ITEMS_STREAM

AGE_S: Final = 3_600
BYTES_MAX: Final = 128 * 1024 * 1024  # of all keys: beyond it nothing is kept, and nothing evicted
MESSAGE_BYTES_MAX: Final = 72 * 1024
RETRY_MIN_S: Final = 1.0
AGAIN_S: Final = 60.0  # for what a loss without a reconnection takes away
WINDOW_S: Final = 1
_logger = get_logger("ledger.items")


async def keep_bucket(bus: Bus, replicas: int) -> None:
    """Makes the bucket, and again after each reconnection; until cancelled. Without it calls are served all the same."""
    due = asyncio.Event()
    bus.on_reconnect(due.set)
    retry_s = RETRY_MIN_S
    while True:
        due.clear()
        pause_s = AGAIN_S
        try:
            await make_stream(bus, _config(replicas))
            retry_s = RETRY_MIN_S
        except (BusError, StreamProblem) as error:
            _logger.warning("the bucket of items cannot be made: references find nothing", error=str(error))
            pause_s, retry_s = retry_s, min(2 * retry_s, AGAIN_S)
        try:
            async with asyncio.timeout(pause_s):
                await due.wait()
        except TimeoutError:
            continue


def _config(replicas: int) -> dict[str, Any]:
    return stream_config(
        ITEMS_STREAM,
        [subjects.item(">")],
        replicas=replicas,
        age_s=AGE_S,
        size_bytes=BYTES_MAX,
        window_s=WINDOW_S,
        storage="memory",
        discard="new",
        max_msgs_per_subject=1,
        max_msg_size=MESSAGE_BYTES_MAX,
        allow_direct=True,
    )
