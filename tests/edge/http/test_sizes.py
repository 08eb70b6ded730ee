"""Bodies around the largest that is taken: each a 200 or a 413, and the connection to NATS never closes."""

import msgspec
import pytest

from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, until

SMALL_BYTES = 600 * 1024  # two frames and a part of one
START = b'{"model":"tokn-sandbox","messages":[{"role":"user","content":"hi"}],"user":"'


@pytest.mark.parametrize(
    ("rig", "step"),
    [
        (msgspec.structs.replace(FAST, body_bytes=SMALL_BYTES), 512),
        pytest.param(FAST, 64, marks=pytest.mark.long),
    ],
    indirect=["rig"],
)
async def test_bodies_around_the_bound(rig: Rig, step: int) -> None:
    """Every size from a little above the bound to a little below it arrives whole, or is refused."""
    bytes_max = rig.edge.load.limits.body_bytes

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await until(lambda: sum(len(part.data) for part in attempt.parts) == attempt.job.body_bytes)
        attempt.end(b"{}")

    rig.worker.script = script
    since = rig.edge.bus.connected_since
    for below in range(-64, 16_385, step):
        size = bytes_max - below
        body = START + b"x" * (size - len(START) - 2) + b'"}'
        assert len(body) == size
        answer = await rig.http.post("/v1/chat/completions", content=body)
        assert answer.status_code == (413 if below < 0 else 200), (below, answer.text)
        rig.worker.attempts.clear()
    assert rig.edge.bus.connected_since == since
    assert rig.edge.budget.used == 0
