"""What a worker does at regular times goes on, whatever a ledger says."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from runtime.bus.bus import BusError
from schemas.verbs import calls as call_verbs
from tests.fakes.worker import until
from workers import upkeep
from workers.calls.leases import SURE_S, Leases


async def test_a_reply_that_cannot_be_read_does_not_end_the_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger of another version may answer anything: leases are asked for again, as after a failure of the bus."""
    monkeypatch.setattr(call_verbs, "RENEW_INTERVAL_S", 0.01)
    asked: list[Any] = []

    class Ledger:
        async def ask(self, _verb: Any, request: Any) -> None:
            asked.append(request)
            raise msgspec.DecodeError("another version")

    calls = SimpleNamespace(request_ids=lambda: ["a"])
    task = asyncio.create_task(upkeep.renew_leases(Ledger(), calls, []))
    await until(lambda: len(asked) > 1 or task.done(), "a second request")
    assert not task.done()
    task.cancel()


async def test_a_renewal_that_a_ledger_confirms_makes_leases_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long call's hold is known to be open while its lease is renewed, and not while no ledger answers."""
    monkeypatch.setattr(call_verbs, "RENEW_INTERVAL_S", 0.01)
    away = True
    rounds: list[Any] = []

    class Ledger:
        async def ask(self, _verb: Any, request: Any) -> None:
            rounds.append(request)
            if away:
                raise BusError("no ledger answers")

    leases = Leases()
    calls = SimpleNamespace(request_ids=lambda: ["a"])
    usage_events = SimpleNamespace(request_ids=list)
    pools: list[Any] = [SimpleNamespace(serving=SimpleNamespace(usage_events=usage_events, leases=leases))]
    task = asyncio.create_task(upkeep.renew_leases(Ledger(), calls, pools))
    await until(lambda: rounds or task.done(), "a request")
    began = time.monotonic()
    later = began + SURE_S + 0.1
    assert not leases.sure(began, later)
    away = False
    await until(lambda: leases.sure(began, later) or task.done(), "a renewal")
    assert not task.done()
    task.cancel()
