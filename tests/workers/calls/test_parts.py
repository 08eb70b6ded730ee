import pytest

from runtime.sealing import Reader, Writer
from schemas.bus.frames import Part
from tests.fakes.worker import job
from workers.calls import parts as parts_module
from workers.calls.parts import Parts, PartsError

PIECES = [b"first, ", b"second, ", b"and third"]
BODY = b"".join(PIECES)


def made() -> tuple[Parts, list[Part]]:
    """A body's reader, and its parts as an edge seals them."""
    call = job({}, body=b"", body_bytes=len(BODY), parts=len(PIECES))
    reader = Parts(call)
    seal, name = Writer(reader.seal), f"{call.request_id}.{call.attempt}"
    return reader, [
        Part(call.request_id, call.attempt, index, seal.seal(name, index, data), seal.public)
        for index, data in enumerate(PIECES)
    ]


async def test_sealed_parts_in_any_order() -> None:
    """The body is whole whatever the order, and however often a part comes."""
    reader, parts = made()
    for part in [*reversed(parts), *parts]:
        reader.add(part)
    assert await reader.whole() == BODY


async def test_a_part_that_was_sealed_for_nobody_here_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another sealed, in another place, for another worker or with another body's key, neither counts nor is in the way."""
    reader, parts = made()
    _, others = made()
    stranger = Writer(Reader().public)
    for index, part in enumerate(parts):
        wrong = [
            others[index],
            Part(part.request_id, part.attempt, index, parts[(index + 1) % 3].data, part.sealed_by),
            Part(part.request_id, part.attempt, index, part.data, stranger.public),
            Part(part.request_id, part.attempt, index, part.data, b"no key"),
            Part(part.request_id, part.attempt, index, b"", part.sealed_by),
        ]
        for forged in wrong:
            reader.add(forged)
    monkeypatch.setattr(parts_module, "WAIT_S", 0.01)
    with pytest.raises(PartsError):
        await reader.whole()
    for part in parts:
        reader.add(part)
    assert await reader.whole() == BODY
