"""Owns callers without HTTP: what an edge and a worker say to ledgers and to the stream, as short calls."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from runtime.bus.bus import Bus
from schemas.bus import subjects
from schemas.bus.subjects import Role, new_id
from schemas.bus.usage import Known, Outcome, Try, UsageBatch, UsageEvent, encode_batch
from schemas.money.pricing import TokenUsage
from schemas.verbs.base import Rows, Verb, encode
from schemas.verbs.calls import AUTHORISE, Authorise, AuthoriseReply, Hold
from schemas.verbs.caps import NewCap
from schemas.verbs.keys import KEY_CREATE, KeyCreate
from tests.chaos.separate import Separate

USAGE = TokenUsage(input=80, output=40)
BILLED_NANO = 80 * 1_500 + 40 * 6_000  # at the price of `pool_toml`'s model
ASK_S = 15.0


class Callers:
    """An edge's and a worker's side of calls, without HTTP."""

    def __init__(self, deployment: Separate, buses: dict[Role, Bus]) -> None:
        self.deployment = deployment
        self._buses = buses

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, deployment: Separate) -> AsyncIterator["Callers"]:
        """With a connection of each role."""
        async with contextlib.AsyncExitStack() as stack:
            buses = {}
            for role in (Role.EDGE, Role.USAGE, Role.COMMAND):
                settings = deployment.nats.settings(role)
                buses[role] = await Bus.connect(settings, role, name="test", on_closed=lambda: None)
                stack.push_async_callback(buses[role].close)
            yield cls(deployment, buses)

    async def ask(self, role: Role, verb: Verb[Any, Any], request: Any, reply: Any) -> Any:
        """A request's answer from whichever ledger took it."""
        data = await self._buses[role].request(verb.subject, encode(request), ASK_S)
        return msgspec.msgpack.decode(data, type=reply)

    async def key(self, name: str, nano: int) -> str:
        """A key's id. It has caps that leave as much as its balance does, so that both are kept by whatever happens."""
        digest = hashlib.sha256(name.encode()).digest()
        caps = tuple(NewCap(new_id("cap_"), period, nano) for period in ("total", "month"))
        request = KeyCreate(1, digest, name, "", nano, None, False, caps=caps)
        rows: Rows = await self.ask(Role.COMMAND, KEY_CREATE, request, Rows)
        return str(rows.rows[0]["id"])

    async def authorise(self, key: str) -> Any:
        """A hold or a refusal."""
        digest = hashlib.sha256(key.encode()).digest()
        request = Authorise(1, new_id("req_"), digest, "priced", 100, 1, 50)
        return await self.ask(Role.EDGE, AUTHORISE, request, AuthoriseReply)

    async def end(self, hold: Hold) -> None:
        """The call's event, twice in its message and once more in another: it must count once."""
        await self.report([hold, hold])
        await self.report([hold])

    async def report(self, holds: Sequence[Hold]) -> None:
        """One message with the event of each call."""
        data = encode_batch(UsageBatch(1, tuple(map(event, holds))))
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


def event(hold: Hold) -> UsageEvent:
    """What a worker says of a call that went well."""
    one = Try("main", hold.upstream, Outcome.OK, 200, Known.REPORTED, USAGE)
    return UsageEvent(
        *(hold.request_id, 1, "w1", hold.pool, hold.provider, Outcome.OK, Known.REPORTED, USAGE),
        tries=(one,),
    )
