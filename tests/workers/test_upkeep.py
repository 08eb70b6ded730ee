"""What a worker does at regular times goes on, whatever a ledger says."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from schemas.verbs import calls as call_verbs
from tests.fakes.worker import until
from workers import upkeep


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
