"""Rate limits of the books: exact over any minute, for key and organisation, over ledgers that share a database."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ledger.rules.limits import minute
from ledger.rules.limits.rates import IN_FLIGHT_RETRY_MS
from ledger.rules.limits.setting import LIMIT_MAX
from ledger.store.sqlite import SqliteStore
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Authorise, Hold, Measure, Reason, Refusal
from schemas.verbs.keys import Credit, KeyCreate
from schemas.verbs.limits import LimitsSet
from tests.ledger.conftest import Source
from tests.ledger.harness import USD, Books, Clock, ask, digest_of, event

MINUTES = 5
OVERLOAD = 3
SMALL = TokenUsage(input=25, output=10)


@pytest.fixture
async def quick_books(sqlite_template: Path, clock: Clock, tmp_path: Path) -> AsyncIterator[Books]:
    """Books on SQLite alone: what is asked of them is no matter of the database."""
    shutil.copy(sqlite_template, tmp_path / "books.db")
    opened = await Books.open(SqliteStore(tmp_path / "books.db", clock), clock)
    yield opened
    await opened.close()


async def _limit(books: Books, key_id: str = "", **fields: Any) -> dict[str, Any]:
    reply = await books.do(LimitsSet(1, key_id, **fields))
    assert not reply.problem, reply
    return dict(reply.rows[0])


def _refused(reply: Any) -> Refusal:
    assert isinstance(reply, Refusal)
    assert reply.reason is Reason.LIMITED
    assert reply.limited is not None
    return reply


async def _row(books: Books, scope: str) -> tuple[int, int]:
    rows = await books.store.fetch(
        "SELECT in_flight, typical_output_milli FROM rates WHERE scope = $1", scope
    )
    return rows[0][0], rows[0][1]


def test_a_minute_forgets_what_is_older() -> None:
    """A second's count leaves after the 60 that follow it, wherever a row was written in between."""
    counts = minute.unpacked(minute.EMPTY, 0, 1000)
    minute.add(counts, 1000, 7)
    row = minute.packed(counts)
    assert sum(minute.unpacked(row, 1000, 1060)) == 7
    assert sum(minute.unpacked(row, 1000, 1061)) == 0
    between = minute.unpacked(row, 1000, 1030)
    minute.add(between, 1030, 1)
    row = minute.packed(between)
    assert sum(minute.unpacked(row, 1030, 1060)) == 8
    assert sum(minute.unpacked(row, 1030, 1061)) == 1
    assert minute.wait_ms(between, 1_030_500, 7) == 30_500
    assert minute.wait_ms(between, 1_030_500, 8) == 60_500
    assert minute.empty_ms(between, 1_030_500) == 60_500
    minute.add(between, 1030, -5)
    assert sum(between) == 7, "what was never there cannot be given back"


@pytest.mark.parametrize("rpm", [60, 600])
async def test_requests_a_minute(quick_books: Books, rpm: int) -> None:
    """Under three times the load no 60 seconds have more than the limit, and five minutes have 0.97 of it at least."""
    books = quick_books
    await _limit(books, await books.key("key", 5000 * USD), rpm=rpm)
    admitted: list[int] = []
    step_ms = 60_000 // (rpm * OVERLOAD)
    number = 0
    start_ms = books.clock.ms
    while books.clock.ms - start_ms < MINUTES * 60_000:
        batch = []
        for _ in range(max(rpm // 20, 1)):
            number += 1
            batch.append(books.request(f"r{number}", limit=1, prompt=4))
        replies = await books.commit(batch)
        admitted += [books.clock.ms] * sum(isinstance(reply, Hold) for reply in replies)
        books.clock.ms += step_ms * len(batch)
    for place, first_ms in enumerate(admitted):
        later = place + rpm
        assert later >= len(admitted) or admitted[later] - first_ms >= 60_000
    # The first minute starts full, so five minutes may have a little more than five times the limit in their steps.
    share = len(admitted) / (MINUTES * rpm)
    assert share >= (0.97 if rpm == 60 else 0.98)


async def test_the_refusal_says_when(books: Books) -> None:
    """A refusal names scope, measure and figures, and the same call goes well at the moment that it names, not before."""
    key_id = await books.key()
    assert await _limit(books, key_id, rpm=2) == {
        "id": key_id,
        "requests_per_minute": 2,
        "tokens_per_minute": None,
        "in_flight": None,
    }
    first = await books.hold("r1")
    assert first.room is not None
    assert (first.room.limit_requests, first.room.left_requests, first.room.limit_tokens) == (2, 1, 0)
    books.clock.turn(20)
    await books.hold("r2")
    refused = _refused(await books.authorise("r3"))
    assert refused.limited is not None
    assert (refused.limited.scope, refused.limited.measure) == ("key", Measure.REQUESTS)
    assert (refused.limited.limit, refused.limited.used, refused.limited.asked) == (2, 2, 1)
    assert refused.room is not None
    assert refused.room.left_requests == 0
    assert 40_000 < refused.limited.retry_ms <= 41_000
    books.clock.ms += refused.limited.retry_ms - 1
    again = _refused(await books.authorise("r4"))
    assert again.limited is not None
    assert again.limited.retry_ms == 1, "a refused call is not counted"
    books.clock.ms += 1
    await books.hold("r5")
    await books.check()


async def test_limits_come_before_money(books: Books) -> None:
    """A key that is at its limit and could not pay either hears of the limit; what money refuses is not counted."""
    key_id = await books.key("key", 50_000)
    await _limit(books, key_id, rpm=1)
    poor = await books.authorise("r1", limit=5000)
    assert isinstance(poor, Refusal)
    assert poor.reason is Reason.INSUFFICIENT
    await books.hold("r2", limit=1, prompt=1)
    _refused(await books.authorise("r3", limit=5000))


async def test_tokens_a_minute(books: Books) -> None:
    """A call reserves what it may be expected to take; at its end what it took stands in the second of its hold."""
    key_id = await books.key("key", 500 * USD)
    await _limit(books, key_id, tpm=1000)
    hold = await books.hold("r1", prompt=400, limit=100)  # 100 of the prompt, 100 of the output
    assert hold.room is not None
    assert hold.room.left_tokens == 800
    books.clock.turn(30)
    assert (await books.hold("r2", prompt=400, limit=400)).room.left_tokens == 800 - 100 - 282  # type: ignore[union-attr]  it has one
    await books.settle(event("r1", TokenUsage(input=400, output=100)))
    refused = _refused(await books.authorise("r3", prompt=400, limit=100))
    assert refused.limited is not None
    assert (refused.limited.measure, refused.limited.used, refused.limited.asked) == (
        Measure.TOKENS,
        882,
        200,
    )
    assert 30_000 < refused.limited.retry_ms <= 31_000
    books.clock.ms += refused.limited.retry_ms
    await books.hold("r4", prompt=400, limit=100)
    too_large = _refused(await books.authorise("r5", prompt=4000, limit=100))
    assert too_large.limited is not None
    assert (too_large.limited.asked, too_large.limited.retry_ms) == (1100, -1)
    await books.check()


async def test_the_typical_output_follows(books: Books) -> None:
    """Calls of long answers raise what the next one reserves, short ones lower it."""
    key_id = await books.key("key", 5000 * USD)
    await _limit(books, key_id, tpm=10**9)
    before = (await _row(books, f"key:{key_id}"))[1]
    for number in range(60):
        await books.hold(f"r{number}", limit=1000)
        await books.settle(event(f"r{number}", TokenUsage(input=1, output=900)))
    raised = (await _row(books, f"key:{key_id}"))[1]
    assert before == 256_000
    assert 850_000 < raised <= 900_000


async def test_calls_in_flight(books: Books) -> None:
    """Whatever ends a call makes room for the next; a limit that is set later counts the calls that run."""
    key_id = await books.key("key", 500 * USD)
    early = await books.hold("r0")
    await _limit(books, key_id, in_flight=3)
    ends: list[Any] = [
        books.release,
        lambda hold: books.settle(event(hold.request_id, SMALL)),
        lambda hold: books.estimate(hold, SMALL),
    ]
    holds = [early, await books.hold("r1"), await books.hold("r2")]
    for number, end in enumerate(ends, 3):
        refused = _refused(await books.authorise(f"r{number}x"))
        assert refused.limited is not None
        assert (refused.limited.measure, refused.limited.used) == (Measure.IN_FLIGHT, 3)
        assert refused.limited.retry_ms == IN_FLIGHT_RETRY_MS
        await end(holds.pop(0))
        await books.check()
        holds.append(await books.hold(f"r{number}"))
    books.clock.turn(120)
    assert await books.expire() == 4, "three that ran, and the rest of the estimated one"
    assert (await _row(books, f"key:{key_id}"))[0] == 0
    await books.check()


async def test_an_organisation_counts_all_its_keys(books: Books) -> None:
    """Keys of one profile share its limits, each has its own beside, and the one that is full for longest speaks."""
    for name in ("one", "two"):
        await books.key(name, profile="acme")
    await books.key("other", profile="")
    running = await books.hold("r0", "one")
    assert (await _limit(books, profile="acme", in_flight=2, rpm=3))["in_flight"] == 2
    await books.hold("r1", "two")
    refused = _refused(await books.authorise("r2", "one"))
    assert refused.limited is not None
    assert refused.limited.scope == "org"
    await books.hold("r3", "other")
    await books.release(running)
    await books.hold("r4", "one")
    await books.check()
    await _limit(books, profile="acme", in_flight=0)
    await books.hold("r5", "two")
    refused = _refused(await books.authorise("r6", "one"))
    assert refused.limited is not None
    assert (refused.limited.measure, refused.limited.used) == (Measure.REQUESTS, 3)


async def test_a_row_that_is_gone_is_made_anew(books: Books) -> None:
    """After a crash that took the counts, calls in flight are those of the open holds, and the audit agrees."""
    key_id = await books.key("key", 500 * USD)
    await _limit(books, key_id, in_flight=2)
    first = await books.hold("r1")
    async with books.store.write() as tx:
        await tx.execute("DELETE FROM rates WHERE scope <> $1", "")
    await books.check()
    await books.hold("r2")
    _refused(await books.authorise("r3"))
    await books.release(first)
    await books.check()
    await books.hold("r4")


async def test_the_clock_goes_back(books: Books) -> None:
    """A clock that is set back lets nobody through a second time."""
    key_id = await books.key()
    await _limit(books, key_id, rpm=1)
    await books.hold("r1")
    books.clock.turn(-3600)
    _refused(await books.authorise("r2"))
    books.clock.turn(3600 + 61)
    await books.hold("r3")


async def test_ledgers_on_one_database(source: Source, clock: Clock) -> None:
    """Of calls that two ledgers get at once exactly so many are admitted as the limit says."""
    first = await Books.open(await source.open(), clock)
    second = Books(await source.again(), clock)
    for number in range(4):
        await first.key(f"key{number}", 50 * USD, profile="acme")
    await _limit(first, profile="acme", rpm=10, in_flight=7)
    writers = [first.start(), second.start()]
    asked = []
    for number in range(40):
        request: Authorise = first.request(f"r{number}", f"key{number % 4}", limit=1)
        asked.append(ask(writers[number % 2], request))
    replies = await asyncio.gather(*asked)
    assert sum(isinstance(reply, Hold) for reply in replies) == 7
    await first.check()
    for books in (first, second):
        await books.close()


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (LimitsSet(1, rpm=1), "name either"),
        (LimitsSet(1, "k", "p", rpm=1), "name either"),
        (LimitsSet(1, "nobody", rpm=1), "there is no key"),
        (LimitsSet(1, profile="nobody", rpm=1), "there is no organisation"),
        (LimitsSet(1, "nobody", rpm=-1), "at least 1"),
        (LimitsSet(1, "nobody", tpm=10**10), "at most"),
    ],
)
async def test_what_cannot_be_set(quick_books: Books, request_: LimitsSet, why: str) -> None:
    """A limit that makes no sense, or of nobody, changes nothing."""
    assert why in (await quick_books.do(request_)).problem


async def test_a_key_is_made_with_its_limits(books: Books) -> None:
    """Limits that come with a new key bound its first call, whichever balance it draws on; a wrong one makes no key."""

    def new(name: str, **fields: Any) -> KeyCreate:
        nano = 0 if fields.get("wallet") or fields.get("playground") else USD
        return KeyCreate(1, digest_of(name), name, "acme", nano, None, **({"playground": False} | fields))

    for wrong in (-1, LIMIT_MAX + 1):
        for name in ("rpm", "tpm", "in_flight"):
            assert "a limit is" in (await books.do(new("own", **{name: wrong}))).problem
    assert not await books.store.fetch("SELECT id FROM api_keys")
    await books.key("free", 2 * USD, profile="acme", playground=True)
    await books.key("rich", 0, profile="acme", wallet=True)
    await books.do(Credit(1, "d1", USD, organization="acme"))
    for name, fields in (("own", {}), ("play", {"playground": True}), ("wallet", {"wallet": True})):
        for limit in ("rpm", "in_flight"):
            key = f"{name}-{limit}"
            for _ in range(2):
                row = (await books.do(new(key, **fields, **{limit: 1}))).rows[0]
            asked = {"requests_per_minute": None, "tokens_per_minute": None, "in_flight": None}
            assert row["limits"] == asked | {{"rpm": "requests_per_minute"}.get(limit, limit): 1}
            await books.hold(f"{key}-1", key)
            _refused(await books.authorise(f"{key}-2", key))
        tpm = f"{name}-tpm"
        await books.do(new(tpm, **fields, tpm=1))
        told = _refused(await books.authorise(tpm, tpm)).limited
        assert told is not None
        assert told.retry_ms == -1
    await books.hold("free", "free")
    await books.hold("rich", "rich")
    await books.check()


async def test_a_key_made_later_is_bound_by_its_organisation(books: Books) -> None:
    """A limit of an organisation bounds keys that are made after it."""
    await books.key("old", profile="acme")
    assert not (await books.do(LimitsSet(1, profile="acme", rpm=1))).problem
    await books.key("new", profile="acme")
    await books.hold("r1", "old")
    reply = await books.authorise("r2", "new")
    assert isinstance(reply, Refusal)
    assert reply.reason is Reason.LIMITED
    await books.check()
