"""A ledger that is killed with -9 between a commit and its publishing: no event is lost, and none is sent under two ids."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.bus.bus import Bus, BusError
from runtime.ledger import LedgerClient, once
from schemas.bus.subjects import Role
from schemas.verbs.acts import ACT, ActRequest
from schemas.verbs.base import encode
from schemas.verbs.keys import KeyCreate
from schemas.verbs.webhooks import WebhookCreate
from tests.console.hooks.receiver import Receiver
from tests.console.hooks.standing import SECRET, Standing, until
from tests.fakes.nats import NatsServer
from tests.fakes.tokn import environment
from tests.ledger.harness import digest_of

LEDGER = """
import asyncio, os, signal, sys
from ledger.app import serve
from ledger.stream import events
from runtime.settings.settings import NatsSettings, Settings
from schemas.catalogue.builtin import BUILTIN

url, database, step = sys.argv[1:]
then = getattr(events.Publishing, step)

async def killed(self, *arguments):
    if any("key.created" in str(row) for row in await self._store.fetch("SELECT type FROM events")):
        os.kill(os.getpid(), signal.SIGKILL)
    return await then(self, *arguments)

setattr(events.Publishing, step, killed)
events.LEASE_MS = 300
nats = NatsSettings(url=url, passwords={"ledger": "ledger-password"})
asyncio.run(serve(Settings(nats=nats, database_url=database, pepper="pepper", models=BUILTIN), asyncio.Event()))
"""


@pytest.mark.parametrize("step", ["_publish", "_mark"])
async def test_killed(step: str, tmp_path: Path) -> None:
    """Killed before it publishes, or after that and before it has noted it: the next ledger sends each event, once."""
    database = f"sqlite:///{tmp_path / 'books.db'}"
    with NatsServer() as server:
        running = subprocess.Popen(
            [sys.executable, "-c", LEDGER, server.url, database, step], env=environment()
        )
        try:
            bus = await Bus.connect(
                server.settings(Role.COMMAND), Role.COMMAND, name="t", on_closed=lambda: None
            )
            asked = LedgerClient(bus, once(5.0))

            async def answers() -> bool:
                assert running.poll() is None
                return await asked.answers(1.0)

            await until(answers, "the ledger answers")
            async with Receiver() as receiver:
                form = WebhookCreate(1, receiver.url, SECRET, ("*",))
                await asked.ask(ACT, ActRequest(1, "webhook_create", encode(form)))
                create = KeyCreate(1, digest_of("k"), "k", "acme", 5, None, False)
                try:
                    await asked.ask(ACT, ActRequest(1, "key_create", encode(create)))
                except BusError:
                    assert running.poll() is not None, "killed before it could answer: the act is done"
                await asyncio.to_thread(running.wait, 60)
                assert running.returncode == -9
                async with Standing(server, tmp_path) as standing:
                    await standing.dispatcher()

                    async def came() -> bool:
                        return len(receiver.ids) >= 3

                    await until(came, "all have arrived")
                    await standing.key("later")

                    async def later() -> bool:
                        return len(receiver.ids) >= 5

                    await until(later, "what comes later arrives")
                    types = [one["type"] for one in receiver.verified(SECRET)]
                    assert len(set(receiver.ids)) == len(receiver.ids) == 5
                    assert sorted(types[:3]) == ["credit.created", "key.created", "organization.created"]
            await bus.close()
        finally:
            running.kill()
            running.wait()
