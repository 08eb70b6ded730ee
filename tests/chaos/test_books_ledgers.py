"""Owns two ledger processes on one PostgreSQL: one hot key, many keys; no deadlock, no overdraft, each call once."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from runtime.bus import Bus
from schemas import books as verbs
from schemas import subjects
from schemas.books import Authorise, AuthoriseReply, Hold, KeyCreate, Rows
from schemas.pricing import TokenUsage
from schemas.subjects import LedgerVerb, Role, new_id
from schemas.usage import Known, Outcome, Try, UsageBatch, UsageEvent, encode_batch
from tests.chaos.separate import Separate
from tests.fakes.tokn import wait_for
from tests.fakes.upstream import pool_toml

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

CALLERS = 200
ADMITTED = 10
USAGE = TokenUsage(input=80, output=40)
BILLED_NANO = 80 * 1_500 + 40 * 6_000
USD = 1_000_000_000
ASK_S = 15.0


class Callers:
    """An edge's and a worker's side of calls, without HTTP."""

    def __init__(self, deployment: Separate, buses: dict[Role, Bus]) -> None:
        self.deployment = deployment
        self._buses = buses

    async def ask(self, role: Role, verb: LedgerVerb, request: Any, reply: Any) -> Any:
        """A request's answer from whichever ledger took it."""
        data = await self._buses[role].request(subjects.ledger(verb), verbs.encode(request), ASK_S)
        return msgspec.msgpack.decode(data, type=reply)

    async def key(self, name: str, nano: int) -> str:
        """A key's id."""
        digest = hashlib.sha256(name.encode()).digest()
        request = KeyCreate(1, digest, name, "", nano, None, False)
        rows: Rows = await self.ask(Role.COMMAND, LedgerVerb.KEY_CREATE, request, Rows)
        return str(rows.rows[0]["id"])

    async def authorise(self, key: str) -> Any:
        """A hold or a refusal."""
        digest = hashlib.sha256(key.encode()).digest()
        request = Authorise(1, new_id("req_"), digest, "priced", 100, 1, 50)
        return await self.ask(Role.EDGE, LedgerVerb.AUTHORISE, request, AuthoriseReply)

    async def end(self, hold: Hold) -> None:
        """The call's event, twice in its message and once more in another: it must count once."""
        one = Try("main", hold.upstream, Outcome.OK, 200, Known.REPORTED, USAGE)
        event = UsageEvent(
            *(hold.request_id, 1, "w1", hold.pool, hold.provider, Outcome.OK, Known.REPORTED, USAGE),
            tries=(one,),
        )
        for events in ((event, event), (event,)):
            data = encode_batch(UsageBatch(1, events))
            await self._buses[Role.USAGE].js_publish(subjects.usage("openai"), data, new_id(), ASK_S)

    async def balance(self, key_id: str) -> tuple[int, int]:
        """Posted and held, read past the ledgers."""
        query = f"SELECT posted_nano, held_nano FROM accounts WHERE id = 'key:{key_id}'"
        ((posted, held),) = await self.deployment.query(query)
        return posted, held

    async def settled(self, key_id: str, posted_nano: int) -> None:
        """Waits until a balance is what it should be, with nothing held."""
        async with asyncio.timeout(60):
            while await self.balance(key_id) != (posted_nano, 0):
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def deployment() -> Iterator[Separate]:
    """Two ledgers and nothing else."""
    with Separate("postgresql", pool_toml("http://127.0.0.1:9/v1"), ledgers=2, calls=False) as running:
        both_listen(running)
        yield running


@pytest.fixture
async def callers(deployment: Separate) -> AsyncIterator[Callers]:
    """A connection of each role."""
    async with contextlib.AsyncExitStack() as stack:
        buses = {}
        for role in (Role.EDGE, Role.USAGE, Role.COMMAND):
            settings = deployment.nats.settings(role)
            buses[role] = await Bus.connect(settings, role, name="test", on_closed=lambda: None)
            stack.push_async_callback(buses[role].close)
        yield Callers(deployment, buses)


def both_listen(deployment: Separate) -> None:
    """Waits until each ledger has said that it is ready."""
    wait_for(
        lambda: all('"event":"ready"' in deployment.said(name) for name in deployment.services),
        30,
        "both ledgers are ready",
    )


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.long)])
async def test_two_ledgers(callers: Callers, rounds: int) -> None:
    """200 callers at once on money for ten holds, then on 200 keys: exactly ten, then all; every call is billed once."""
    probe = await callers.key("probe", USD)
    hold = await callers.authorise("probe")
    amount = hold.amount_nano
    await callers.end(hold)
    await callers.settled(probe, USD - BILLED_NANO)
    keys = [await callers.key(f"key{number}", 1_000 * USD) for number in range(CALLERS)]
    for turn in range(rounds):
        name = f"hot{turn}"
        hot = await callers.key(name, ADMITTED * amount + amount - 1)
        replies = await asyncio.gather(*(callers.authorise(name) for _ in range(CALLERS)))
        holds = [reply for reply in replies if isinstance(reply, Hold)]
        assert len(holds) == ADMITTED
        assert await callers.balance(hot) == (11 * amount - 1, 10 * amount)
        others = await asyncio.gather(*(callers.authorise(f"key{number}") for number in range(CALLERS)))
        assert all(isinstance(reply, Hold) for reply in others)
        await asyncio.gather(*(callers.end(one) for one in (*holds, *others)))
        await callers.settled(hot, 11 * amount - 1 - ADMITTED * BILLED_NANO)
    for key_id in keys:
        await callers.settled(key_id, 1_000 * USD - rounds * BILLED_NANO)
    ((deadlocks,),) = await callers.deployment.query(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert deadlocks == 0
    proof = await asyncio.to_thread(callers.deployment.audit)
    assert (proof["ok"], proof["calls"]) == (True, rounds * (ADMITTED + CALLERS) + 1), proof
    assert (proof["open_holds"], proof["uncollected_nano"]) == (0, 0)


async def test_one_hot_key(callers: Callers) -> None:
    """200 callers call one key again and again while both ledgers settle it: its balance is exact to the nano-dollar."""
    hot = await callers.key("hot", 1_000 * USD)
    before = (await asyncio.to_thread(callers.deployment.audit))["calls"]

    async def caller() -> None:
        for _ in range(3):
            await callers.end(await callers.authorise("hot"))

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    await callers.settled(hot, 1_000 * USD - 3 * CALLERS * BILLED_NANO)
    proof = await asyncio.to_thread(callers.deployment.audit)
    assert (proof["ok"], proof["calls"]) == (True, before + 3 * CALLERS), proof
