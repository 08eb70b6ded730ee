"""Large bodies: what goes over the bus can be read by the worker that has the call, and by nobody who listens there."""

import pytest

from runtime.sealing import Reader
from schemas.bus.frames import Accept
from tests.edge.conftest import Rig
from tests.edge.stand_ins import Attempt, completion, until

CANARY = b"canary-of-a-large-body"
TEXT = CANARY.decode() * 60_000


async def test_a_large_body_is_sealed_to_its_worker(rig: Rig) -> None:
    """Each part is sealed to the key of the accept, and together they are the body; a second worker's key opens none."""
    bodies: list[bytes] = []
    parts: list[bytes] = []

    async def script(attempt: Attempt) -> None:
        reader, other = Reader(), Reader()
        attempt.accepted = True
        attempt.send(Accept(0, attempt.worker.id, seal=reader.public))
        await until(lambda: len(attempt.parts) == attempt.job.parts)
        name = f"{attempt.job.request_id}.{attempt.job.attempt}"
        opened = [reader.open(part.sealed_by, name, part.index, part.data) for part in attempt.parts]
        assert not [part for part in attempt.parts if other.open(part.sealed_by, name, part.index, part.data)]
        parts.extend(part.data for part in attempt.parts)
        bodies.append(b"".join(piece or b"" for piece in opened))
        attempt.end(completion("ok"))

    rig.worker.script = script
    answer = await rig.chat(messages=[{"role": "user", "content": TEXT}])
    assert answer.status_code == 200, answer.text
    assert TEXT.encode() in bodies[0]
    assert len(parts) > 4
    assert not [data for data in parts if CANARY in data]


@pytest.mark.parametrize("seal", [b"no key", bytes(32)], ids=["short", "known to all"])
async def test_no_body_is_sent_to_what_is_no_key(rig: Rig, seal: bytes) -> None:
    """A worker that names no proper key gets no part of the body, and the edge goes on."""
    got: list[int] = []

    async def script(attempt: Attempt) -> None:
        attempt.accepted = True
        attempt.send(Accept(0, attempt.worker.id, seal=seal))
        answer = completion("ok")
        attempt.data(answer[:9])
        await until(lambda: attempt.credits)  # it comes the same way as parts, after them
        got.append(len(attempt.parts))
        attempt.end(answer[9:])

    rig.worker.script = script
    answer = await rig.chat(messages=[{"role": "user", "content": TEXT}])
    assert answer.status_code == 200, answer.text
    assert got == [0]
