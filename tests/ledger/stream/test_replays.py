"""The stream may say everything again, in any order: the books stay as they are, byte for byte."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import pytest
from msgspec import Struct

from ledger.stream import jetstream
from schemas.bus import subjects
from schemas.bus.subjects import Role
from schemas.bus.usage import UsageBatch, UsageEvent, encode_batch
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.base import Done, Verb
from schemas.verbs.calls import ESTIMATE, REATTEMPT, RELEASE, Estimate, Hold, Reattempt, Release
from tests.ledger.deployment import Deployment, admin, until
from tests.ledger.harness import USD, billed, event, listed

AT_ONCE = 200  # requests under way
EVENTS = [pytest.param(400), pytest.param(100_000, marks=pytest.mark.long)]
LONG_S = 600.0
GUESS = TokenUsage(input=80, output=3)
TABLES = {  # each with what orders its rows
    "accounts": "id",
    "api_keys": "id",
    "holds": "request_id",
    "parked_events": "request_id, attempt",
    "profiles": "id",
    "stream_positions": "identity",
    "stream_ranges": "first_seq",
    "transfers": "request_id, kind, attempt, line",
    "usage": "seq",
}

pytestmark = pytest.mark.timeout(3 * LONG_S)


class Expected(Struct):
    """What the books must say in the end: the bill of each call that has one, and our costs."""

    bills: dict[str, int]
    cost_nano: int = 0


async def each(items: Iterable[Any], do: Callable[[Any], Awaitable[Any]]) -> None:
    """Does something with each item, AT_ONCE at a time."""
    todo = iter(items)

    async def one_after_the_other() -> None:
        for item in todo:
            await do(item)

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))


async def calls(deployment: Deployment, count: int) -> tuple[list[UsageEvent], Expected]:
    """Calls whose events are about to come: running, estimated by their edge, released, and at their second attempt."""
    events: list[UsageEvent] = []
    expected = Expected({})

    async def call(number: int) -> None:
        name = f"r{number:06}"
        hold = await deployment.authorise(name)
        assert isinstance(hold, Hold), hold
        usage = TokenUsage(input=1 + number % 97, output=1 + number % 47)
        expected.cost_nano += listed(usage)
        fate = number % 10
        expected.bills[name] = billed(usage)
        verb: tuple[Verb[Any, Any], Any] | None = None
        if fate == 1:
            verb = ESTIMATE, Estimate(1, name, hold.token, 1, GUESS, failed=False)
        elif fate == 2:
            del expected.bills[name]
            verb = RELEASE, Release(1, name, hold.token)
        elif fate == 3:
            verb = REATTEMPT, Reattempt(1, name, hold.token, 2, NO_USAGE)
            events.append(event(name, usage, attempt=2))
            expected.cost_nano += listed(GUESS)
            usage = GUESS
        if verb is not None:
            assert (await deployment.ask(Role.EDGE, *verb, Done)).ok
        events.append(event(name, usage))

    await each(range(count), call)
    return events, expected


async def send(deployment: Deployment, events: Sequence[UsageEvent], dice: random.Random) -> int:
    """Puts events on the stream, 1 to 20 a message, each message once. Returns how many messages."""
    messages: list[tuple[str, bytes]] = []
    first = 0
    while first < len(events):
        some = events[first : first + dice.randint(1, 20)]
        first += len(some)
        messages.append((f"m{len(messages)}", encode_batch(UsageBatch(1, tuple(some)))))
    subject, bus = subjects.usage("openai"), deployment.buses[Role.USAGE]
    await each(messages, lambda message: bus.js_publish(subject, message[1], message[0], 30.0))
    return len(messages)


async def applied(deployment: Deployment, messages: int) -> None:
    """Waits until all messages are in the books."""

    async def done() -> bool:
        return await deployment.applied() == messages

    await until(done, "all is applied", LONG_S)


async def dump(deployment: Deployment) -> dict[str, str]:
    """A digest of every row of every table that money is in."""
    found = {}
    for table, order in TABLES.items():
        rows = await deployment.store.fetch(f"SELECT * FROM {table} ORDER BY {order}")
        found[table] = (
            f"{len(rows)} {hashlib.sha256(repr([tuple(row) for row in rows]).encode()).hexdigest()}"
        )
    return found


async def check(deployment: Deployment, key_id: str, expected: Expected) -> None:
    """Every call has its one bill, to the nano-dollar, the balance is what they leave, and the audit agrees."""
    rows = await deployment.store.fetch("SELECT request_id, billed_nano FROM usage WHERE slot = 0")
    assert dict(map(tuple, rows)) == expected.bills
    assert len(rows) == len(expected.bills)
    assert await deployment.posted(key_id) == 10**6 * USD - sum(expected.bills.values())
    costs = await deployment.store.fetch("SELECT posted_nano FROM accounts WHERE id = 'cost_of_goods'")
    assert costs[0][0] == expected.cost_nano
    proof = await deployment.audit()
    assert proof["ok"], proof["findings"]
    assert (proof["calls"], proof["open_holds"], proof["parked"]) == (len(expected.bills), 0, 0)


@pytest.mark.parametrize("count", EVENTS)
async def test_full_replays_change_nothing(deployment: Deployment, count: int) -> None:
    """T4: the durable is deleted and made anew to deliver all, three times; no byte of the books changes."""
    await deployment.start()
    key_id = await deployment.key(nano=10**6 * USD)
    events, expected = await calls(deployment, count)
    messages = await send(deployment, events, random.Random(count))
    await applied(deployment, messages)
    await check(deployment, key_id, expected)
    before = await dump(deployment)
    async with admin(deployment) as bus:
        for _ in range(3):
            await jetstream.reset_consumer(bus, 1)

            async def replayed() -> bool:
                consumer = await jetstream.consumer(bus)
                return consumer.ack_floor.stream_seq == messages and consumer.num_ack_pending == 0

            await until(replayed, "all is acknowledged again", LONG_S)
            assert await dump(deployment) == before
    assert (await deployment.audit())["ok"]


@pytest.mark.parametrize("count", EVENTS)
async def test_duplicates_in_any_order(deployment: Deployment, dialect: str, count: int) -> None:
    """T6: each event comes one to five times, shuffled, to two ledgers (on SQLite, which has one, to it): one bill each."""
    for _ in range(2 if dialect == "postgresql" else 1):
        await deployment.start()
    key_id = await deployment.key(nano=10**6 * USD)
    events, expected = await calls(deployment, count)
    dice = random.Random(count)
    events = [one for one in events for _ in range(dice.randint(1, 5))]
    dice.shuffle(events)
    await applied(deployment, await send(deployment, events, dice))
    await check(deployment, key_id, expected)
