import asyncio

import pytest

from runtime.settings.settings import PoolSettings
from tests.fakes.nats import NatsServer
from tests.fakes.worker import account, model, settings
from workers import app, upkeep
from workers.discovery import Discovery


async def fail(*_arguments):
    raise ValueError("broken")


@pytest.mark.parametrize(
    ("owner", "name"),
    [(upkeep, "tick"), (upkeep, "renew_leases"), (upkeep, "follow_inventory"), (Discovery, "run")],
)
async def test_a_worker_ends_with_a_task_that_it_needs(owner, name, monkeypatch):
    """Deadlines, leases, inventory, lists: a worker that lost one of them would go on as half of itself, so it ends."""
    monkeypatch.setattr(owner, name, fail)
    with NatsServer() as server:
        pool = PoolSettings(name="openai", provider="openai", accounts=(account("http://127.0.0.1:9"),))
        made = settings(server, (pool,), (model(),))
        with pytest.raises(ValueError, match="broken"):
            await asyncio.wait_for(app.serve(made, ("openai",), asyncio.Event()), 60)
