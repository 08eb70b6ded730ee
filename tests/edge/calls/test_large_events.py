"""Events larger than a frame: nothing is ever written into the middle of one, and their words are counted."""

import asyncio

import httpx
import msgspec
import pytest

from schemas.bus.frames import FRAME_BYTES_MAX
from schemas.bus.usage import estimate_tokens
from schemas.errors import overloaded
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import ESTIMATE
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
    await until(lambda: rig.edge.load.requests == 0)
    assert rig.edge.budget.used == 0


async def test_words_of_large_events_are_counted(rig: Rig) -> None:
    """An event that comes in two frames counts once, whole, wherever it is cut: the edge takes its worker's count."""
    rig.ledger.models = tuple(
        msgspec.structs.replace(model, max_output=200_000) for model in rig.ledger.models
    )
    for cut in (1, 10, 200_000, len(LARGE) - 1):

        async def script(attempt: Attempt, cut: int = cut) -> None:
            attempt.accept()
            attempt.usage(TokenUsage(input=1))
            for piece in (event("ab"), LARGE[:cut], LARGE[cut:], event("c")):
                for start in range(0, len(piece), FRAME_BYTES_MAX):
                    attempt.data(piece[start : start + FRAME_BYTES_MAX])
            await asyncio.sleep(0.2)
            await attempt.worker.die()

        worker = rig.workers[-1]
        worker.script = script
        told = len(rig.ledger.of(ESTIMATE))
        await rig.chat(stream=True)
        estimates = await until(lambda told=told: rig.ledger.of(ESTIMATE)[told:])
        assert [estimate.usage.output for estimate in estimates] == [estimate_tokens(400_003)]
        await rig.add_worker()
