"""What a call has produced: the worker counts it, and the edge takes its word."""

import asyncio

import pytest

from schemas.bus.frames import Data
from schemas.bus.usage import estimate_tokens
from schemas.verbs.calls import ESTIMATE
from tests.edge.conftest import Rig
from tests.edge.stand_ins import Attempt, until
from tests.workers.providers.openai.test_exchange import exchange

THOUGHT = b"a thought " * 40
TWICE = b'data: {"choices":[{"index":0,"delta":{"reasoning":"%b","reasoning_content":"%b"}}]}\n\n' % (
    THOUGHT,
    THOUGHT,
)


async def settled(rig: Rig, *counts: int) -> tuple[int, int]:
    """Input and output of the estimate for a stream whose worker dies after frames with these counts."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        for seq, count in enumerate(counts, 1):
            attempt.send(Data(seq, TWICE, count))
        await asyncio.sleep(0.2)
        await attempt.worker.die()

    rig.worker.script = script
    await rig.chat(stream=True)
    (told,) = await until(lambda: rig.ledger.of(ESTIMATE))
    return told.usage.input, told.usage.output


async def test_reasoning_under_two_names_counts_once(rig: Rig) -> None:
    """A delta that gives the same 400 bytes as `reasoning` and `reasoning_content` is 100 tokens, at worker and edge."""
    made = exchange({"model": "m", "messages": [], "stream": True}, stream=True)
    made.feed(TWICE)
    counted = estimate_tokens(made.output_bytes)
    assert counted == 100
    assert (await settled(rig, counted))[1] == 100


@pytest.mark.parametrize(
    ("counts", "output"),
    [((0, 0), 1), ((7, 25), 25), ((7, 0), 7)],
    ids=["a worker that does not count", "cumulative", "never less than before"],
)
async def test_the_last_count_is_what_is_settled(rig: Rig, counts: tuple[int, ...], output: int) -> None:
    """Counts are cumulative; of a worker that does not say any, an answered call is one token, whatever was seen."""
    assert (await settled(rig, *counts))[1] == output
