"""The one writer: what arrives together is committed together, and nobody waits behind a backlog."""

import asyncio
from typing import Any

import pytest

from ledger.commits import load_save
from ledger.commits.commit import Delivery
from ledger.commits.writer import EVENTS_BESIDE_COMMANDS_MAX, EVENTS_MAX
from ledger.store.base import StoreDown
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Hold
from schemas.verbs.money import Post
from tests.ledger.conftest import Source
from tests.ledger.harness import USD, Books, act, ask, event

SMALL = TokenUsage(input=80, output=40)


class Commits:
    """Watches the commits of a ledger."""

    def __init__(self, books: Books) -> None:
        self.seen: list[tuple[int, int]] = []  # commands, events
        self._commit = books.committer.commit
        books.committer.commit = self

    async def __call__(self, commands: Any, deliveries: Any = ()) -> Any:
        """Notes a commit, and does it."""
        self.seen.append((len(commands), sum(len(one.events) for one in deliveries)))
        return await self._commit(commands, deliveries)


async def test_what_arrives_together_is_committed_together(books: Books) -> None:
    """While one commit is under way, all that comes waits for the next one, and is one commit."""
    await books.key(nano=1000 * USD)
    commits = Commits(books)
    writer = books.start()
    replies = await asyncio.gather(*(ask(writer, books.request(f"r{number}")) for number in range(100)))
    assert all(isinstance(reply, Hold) for reply in replies)
    assert len(commits.seen) <= 3


async def test_calls_do_not_wait_behind_a_backlog(books: Books) -> None:
    """With 2,000 events waiting, each commit takes at most 100 of them while a command waits, and 256 else."""
    await books.key(nano=100_000 * USD)
    commits = Commits(books)
    writer = books.start()
    for start in range(0, 2000, 500):
        await asyncio.gather(
            *(ask(writer, books.request(f"r{number}")) for number in range(start, start + 500))
        )
    commits.seen.clear()
    left = asyncio.Semaphore(0)
    for message in range(200):
        events = tuple(event(f"r{message * 10 + at}", SMALL) for at in range(10))
        writer.apply(Delivery("stream", message + 1, events), left.release)
    for number in range(15):
        await ask(writer, books.request(f"new{number}"))
    beside = [events for commands, events in commits.seen if commands]
    assert len(beside) == 15
    assert max(beside) <= EVENTS_BESIDE_COMMANDS_MAX
    for _ in range(200):
        await asyncio.wait_for(left.acquire(), 30)
    assert max(events for _, events in commits.seen) <= EVENTS_MAX
    assert (await books.check())["open_holds"] == 15


async def test_a_hot_account_is_one_update_a_commit(books: Books) -> None:
    """A hundred calls of one key in one commit update its account once."""
    await books.key(nano=1000 * USD)
    updated: list[int] = []
    async with books.store.write() as tx:
        kind = type(tx)
    update_all = kind.update_all

    async def watch(self: Any, changes: Any) -> None:
        updated.extend(len(rows) for what, rows in changes if what.table.name == "accounts")
        await update_all(self, changes)

    kind.update_all = watch
    try:
        await books.commit([books.request(f"r{number}") for number in range(100)])
        await books.settle(*(event(f"r{number}", SMALL) for number in range(100)))
    finally:
        kind.update_all = update_all
    assert updated == [1, 1]


@pytest.mark.parametrize("rounds", [3, pytest.param(500, marks=pytest.mark.long)])
async def test_overdraft_race(books: Books, rounds: int) -> None:
    """T7: money for ten, two hundred at once: exactly ten are admitted, each round."""
    writer = books.start()
    await books.key("probe", nano=USD)
    amount = (await ask(writer, books.request("probe", "probe"))).amount_nano
    for round_ in range(rounds):
        await books.key(f"key{round_}", nano=amount * 10 + amount - 1)
        replies = await asyncio.gather(
            *(ask(writer, books.request(f"r{round_}-{number}", f"key{round_}")) for number in range(200))
        )
        assert sum(isinstance(reply, Hold) for reply in replies) == 10
    await books.check()


async def test_one_bad_event_does_not_stop_the_others(books: Books) -> None:
    """An event that the database refuses is parked by itself; its batch goes through, and so does the position."""
    await books.key(nano=1000 * USD)
    for name in ("r1", "r2", "bad"):
        await books.hold(name)
    settle = books.committer._commit

    async def fails(commands: Any, deliveries: Any) -> Any:
        if any(one.request_id == "bad" for delivery in deliveries for one in delivery.events):
            raise RuntimeError("this event breaks something")
        return await settle(commands, deliveries)

    books.committer._commit = fails
    writer = books.start()
    done = asyncio.Event()
    events = tuple(event(name, SMALL) for name in ("r1", "bad", "r2"))
    await books.store.fetch("SELECT 1")
    writer.apply(Delivery("stream", 1, events), done.set)
    await asyncio.wait_for(done.wait(), 30)
    proof = await books.check()
    assert (proof["calls"], proof["parked"], proof["open_holds"]) == (2, 1, 1)


async def test_a_database_that_is_away_loses_nothing(books: Books) -> None:
    """Commands and events wait while the database is down, and are committed when it is back."""
    await books.key(nano=1000 * USD)
    await books.hold("r0")
    commit = books.committer._commit
    failures = 3

    async def away(commands: Any, deliveries: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise StoreDown("away")
        return await commit(commands, deliveries)

    books.committer._commit = away
    writer = books.start()
    done = asyncio.Event()
    writer.apply(Delivery("stream", 1, (event("r0", SMALL),)), done.set)
    assert isinstance(await ask(writer, books.request("r1")), Hold)
    await asyncio.wait_for(done.wait(), 30)
    assert (await books.check())["open_holds"] == 1


async def test_an_act_is_alone(books: Books) -> None:
    """An act shares its commit with nothing; acts one after another keep neither calls nor events waiting."""
    key = await books.key(nano=1000 * USD)
    await books.hold("r0")
    commits = Commits(books)
    acts = [act("deposit", Post(1, f"key:{key}", USD), key=f"k{number}") for number in range(10)]
    calls = [books.request(f"r{number}") for number in range(1, 11)]
    asked = asyncio.gather(*(ask(books.writer, request) for request in [*acts, *calls, *acts[:3]]))
    await asyncio.sleep(0)
    books.writer.apply(Delivery("stream", 1, (event("r0", SMALL),)), lambda: None)
    books.start()
    answers = await asked
    assert all(isinstance(one, Hold) for one in answers[10:20])
    assert answers[20:] == answers[:3]
    assert commits.seen[0] == (1, 0)
    assert commits.seen[1] == (0, 1), "the event does not wait for the other nine acts"
    assert commits.seen.count((1, 0)) >= 13
    assert (await books.balance(key))[0] > 1009 * USD
    await books.check()


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_an_act_sees_what_another_ledger_did(
    books: Books, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that another ledger revokes after this one has read it, and before it locks, gets no money."""
    key = await books.key(nano=0)
    other = Books(await source.again(), books.clock)
    before = load_save.load_accounts

    async def late(*fields: Any) -> None:
        monkeypatch.setattr(load_save, "load_accounts", before)
        assert not (await other.revoke(key)).problem
        await before(*fields)

    monkeypatch.setattr(load_save, "load_accounts", late)
    reply = await books.act("deposit", Post(1, f"key:{key}", USD), key="k")
    assert "is revoked" in reply.problem
    assert await books.balance(key) == (0, 0)
    await books.check()
    await other.close()
