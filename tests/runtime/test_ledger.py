"""Asking a ledger: how often, how long, and what an asker sees when nothing answers."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from runtime.bus.bus import BusDenied, BusError, BusTimeout, NoResponders, PayloadTooLarge
from runtime.ledger import LedgerAwayError, LedgerClient, Patience, once
from schemas.verbs.base import Done, encode
from schemas.verbs.ping import PING, Ping

PATIENT = Patience(total_s=30.0, try_s=2.0, pause_s=0.0)
SHORT = Patience(total_s=0.5, try_s=2.0, pause_s=0.01)  # a busy machine may stand still for a tenth
LONGER = Patience(total_s=2.0, try_s=2.0, pause_s=0.2)  # for some tries, on a machine that is busy as well


class ScriptedBus:
    """Answers requests one after the other; the last answer is repeated."""

    def __init__(self, answers: Sequence[bytes | BusError]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bytes, float]] = []

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        """The next answer, or the error that it is."""
        self.asked.append((subject, data, timeout_s))
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BusError):
            raise answer
        return answer


def client(bus: Any, patience: Patience) -> LedgerClient:
    return LedgerClient(bus, patience)


async def test_an_answer_is_decoded() -> None:
    """A verb's request goes to its subject, and its reply comes back as the verb's type."""
    bus = ScriptedBus([encode(Done(ok=False, detail="expired"))])
    assert await client(bus, PATIENT).ask(PING, Ping()) == Done(ok=False, detail="expired")
    assert bus.asked == [("ledger.ping", encode(Ping()), 2.0)]


async def test_a_patient_asker_asks_again() -> None:
    """Whoever is patient asks again while a ledger restarts."""
    bus = ScriptedBus([NoResponders("x"), BusTimeout("x"), encode(Done())])
    assert await client(bus, PATIENT).ask(PING, Ping()) == Done()
    assert len(bus.asked) == 3


async def test_patience_ends() -> None:
    """Whoever gets no answer in time learns what the bus said last, and no try is longer than the time left."""
    bus = ScriptedBus([NoResponders("ledger.ping")])
    with pytest.raises(LedgerAwayError, match=r"ledger\.ping") as away:
        await client(bus, SHORT).ask(PING, Ping())
    assert isinstance(away.value.__cause__, NoResponders)
    assert len(bus.asked) > 1
    assert all(timeout_s <= SHORT.total_s for _, _, timeout_s in bus.asked)


async def test_one_try_is_one() -> None:
    """Without a pause there is one try, whatever time is left; a single question may have a patience of its own."""
    bus = ScriptedBus([NoResponders("x"), encode(Done())])
    with pytest.raises(LedgerAwayError):
        await client(bus, PATIENT).ask(PING, Ping(), patience=once(3.0))
    assert [timeout_s for _, _, timeout_s in bus.asked] == [3.0]


@pytest.mark.parametrize("final", [BusDenied("x"), PayloadTooLarge("x")], ids=["denied", "too-large"])
async def test_what_no_patience_mends(final: BusError) -> None:
    """What the server will never take is raised as it is, at once."""
    bus = ScriptedBus([final])
    with pytest.raises(type(final)):
        await client(bus, PATIENT).ask(PING, Ping())
    assert len(bus.asked) == 1


@pytest.mark.parametrize(("answer", "there"), [(encode(Done()), True), (BusTimeout("x"), False)])
async def test_whether_a_ledger_answers(answer: bytes | BusError, there: bool) -> None:
    """A look whether a ledger answers is one try, and never raises."""
    bus = ScriptedBus([answer])
    assert await client(bus, PATIENT).answers(0.5) is there
    assert [timeout_s for _, _, timeout_s in bus.asked] == [0.5]


@pytest.mark.parametrize(
    ("answers", "reached"),
    [
        ([NoResponders("x")], False),
        ([NoResponders("x"), BusTimeout("x"), NoResponders("x")], True),
        ([BusTimeout("x")], True),
    ],
)
async def test_whether_a_ledger_may_have_had_it(answers: list[BusError], reached: bool) -> None:
    """Only where nobody ever listened, a request has certainly reached no ledger."""
    with pytest.raises(LedgerAwayError) as away:
        await client(ScriptedBus(answers), LONGER).ask(PING, Ping())
    assert away.value.reached is reached
