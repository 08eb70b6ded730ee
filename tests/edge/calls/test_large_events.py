"""Events larger than a frame: nothing is ever written into the middle of one, and their words are counted."""

import asyncio

import httpx
import pytest

from edge.calls.seen import Seen
from schemas.bus.frames import FRAME_BYTES_MAX
from schemas.errors import overloaded
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, event, until

LARGE = event("x" * 400_000)


async def test_no_ping_inside_an_event(rig: Rig) -> None:
    """A worker that pauses inside a large event is waited for without comments."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(LARGE[:FRAME_BYTES_MAX])
        await asyncio.sleep(FAST.ping_s * 3)
        attempt.data(LARGE[FRAME_BYTES_MAX:])
        attempt.end()

    rig.worker.script = script
    answer = await rig.chat(stream=True)
    assert answer.content == LARGE + b"data: [DONE]\n\n"


async def test_a_failure_inside_an_event_breaks_the_connection(rig: Rig) -> None:
    """Half an event followed by an error would be read as nonsense: the caller sees a broken connection instead."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(LARGE[:FRAME_BYTES_MAX])
        await asyncio.sleep(0.2)
        attempt.fail(overloaded())

    rig.worker.script = script
    with pytest.raises(httpx.RemoteProtocolError):
        await rig.chat(stream=True)
    await until(lambda: rig.edge.state.requests == 0)
    assert rig.edge.budget.used == 0


def test_words_of_large_events_are_counted() -> None:
    """An event that comes in two frames counts once, whole, wherever it is cut."""
    for cut in (1, 10, 200_000, len(LARGE) - 1):
        seen = Seen()
        for piece in (event("ab"), LARGE[:cut], LARGE[cut:], event("c")):
            seen.add(piece)
        assert seen.output_bytes() == 400_003
        assert seen.output_bytes() == 400_003
