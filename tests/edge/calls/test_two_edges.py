"""Several edges on one bus: each has its own calls, whatever happens to another or to NATS."""

import asyncio

import httpx

from edge.app import Edge
from edge.limits import Limits
from runtime.settings.settings import PoolSettings, Settings
from schemas.bus.subjects import Role
from tests.edge.conftest import FAST, PATIENT, Rig
from tests.edge.stand_ins import Attempt, event, until, without_pings

DONE = b"data: [DONE]\n\n"


class Second:
    """Another edge on the same bus."""

    async def open(self, rig: Rig, limits: Limits = FAST) -> "Second":
        """Starts it."""
        pools = (PoolSettings(name="sandbox", provider="sandbox"),)
        self.edge = Edge(Settings(nats=rig.nats.settings(Role.EDGE), port=0, pools=pools), limits)
        await self.edge.open()
        self.stop = asyncio.Event()
        self.running = asyncio.create_task(self.edge.run(self.stop))
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.edge.port}",
            headers={"authorization": f"Bearer {rig.ledger.key}"},
            timeout=60,
        )
        await until(lambda: self.edge.catalogue.loaded and not self.edge.roster.silent("sandbox"))
        return self

    async def close(self) -> None:
        """Stops it."""
        await self.http.aclose()
        self.stop.set()
        await asyncio.wait_for(self.running, 10)
        await self.edge.close()


def body(text: str) -> dict[str, object]:
    """A stream whose words are told by its own prompt."""
    return {"model": "tokn-sandbox", "messages": [{"role": "user", "content": text}], "stream": True}


async def echo(attempt: Attempt) -> None:
    """Says the prompt back, slowly."""
    attempt.accept()
    word = attempt.job.body.split(b'"content":"')[1].split(b'"')[0].decode()
    for _ in range(10):
        attempt.data(event(word))
        await asyncio.sleep(0.01)
    attempt.end()


async def test_calls_of_two_edges_do_not_mix(rig: Rig) -> None:
    """Calls on both at once: each caller gets its own words, and one edge's stop leaves the other's calls alone."""
    rig.worker.script = echo
    second = await Second().open(rig)

    async def call(client: httpx.AsyncClient, word: str) -> None:
        answer = await client.post("/v1/chat/completions", json=body(word))
        assert without_pings(answer.content) == event(word) * 10 + DONE

    calls = [call((rig.http, second.http)[number % 2], f"word{number}") for number in range(40)]
    await asyncio.gather(*calls)
    held = asyncio.create_task(call(rig.http, "held"))
    await until(lambda: any(b"held" in attempt.job.body for attempt in rig.worker.attempts))
    await second.close()
    await held


async def test_a_restart_of_nats_leaves_both_edges_whole(own_rig: Rig) -> None:
    """After a restart of NATS both edges serve, and neither hears of the other's calls."""
    own_rig.worker.script = echo
    second = await Second().open(own_rig, PATIENT)
    own_rig.nats.kill()
    await until(lambda: not own_rig.edge.bus.connected and not second.edge.bus.connected)
    own_rig.nats.start()
    calls = [
        client.post("/v1/chat/completions", json=body(f"word{number}"))
        for number in range(10)
        for client in (own_rig.http, second.http)
    ]
    for at, answer in enumerate(await asyncio.gather(*calls)):
        assert without_pings(answer.content) == event(f"word{at // 2}") * 10 + DONE
    await second.close()
