"""Sums of usage by whatever is asked for: they equal the calls, rolled up or not, on both databases."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.commits.rolling import Rolling
from ledger.verbs.sums import SUMS
from schemas.money.pricing import TokenUsage
from schemas.verbs.sums import PARTS, PERIODS, SumsQuery
from tests.ledger.harness import USD, Books, billed, event

SMALL = TokenUsage(input=60, output=40)
DAY_S = 86_400
CALLS = 6


async def _ask(books: Books, **fields: Any) -> list[dict[str, Any]]:
    services: Any = SimpleNamespace(store=books.store)
    reply = await SUMS.answer(services, SumsQuery(1, **fields))
    assert not reply.problem, reply
    return list(reply.rows)


async def _used(books: Books) -> tuple[str, int]:
    """Six calls of three keys, one a day, half of them rolled up; a key's id, and the first day's begin."""
    ids = [await books.key(f"key{number}", 50 * USD, profile=f"org{number % 2}") for number in range(3)]
    books.clock.ms -= books.clock.ms % (DAY_S * 1000)
    begin_s = books.clock.ms // 1000
    books.start()
    rolling = Rolling(books.writer)
    for number in range(CALLS):
        await books.hold(f"r{number}", f"key{number % 3}")
        await books.settle(event(f"r{number}", SMALL))
        if number < CALLS // 2:
            for _ in range(3):
                await rolling.step()
        books.clock.turn(DAY_S)
    return ids[0], begin_s


async def test_every_question_sums_to_the_same(books: Books) -> None:
    """Whatever sums are by, and whatever table answers, they have every call once."""
    key_id, begin_s = await _used(books)
    parts = [subset for size in range(4) for subset in itertools.combinations(PARTS, size)]
    for period in ("", *PERIODS):
        for subset in parts:
            rows = await _ask(books, by=(*([period] if period else []), *subset))
            assert sum(row["calls"] for row in rows) == CALLS
            assert sum(row["billed_nano"] for row in rows) == CALLS * billed(SMALL)
            assert sum(row["output_tokens"] for row in rows) == CALLS * 40
    for by in ((), ("day",), ("hour",), ("month", "model")):
        rows = await _ask(books, by=by, key_id=key_id)
        assert sum(row["calls"] for row in rows) == 2
        rows = await _ask(books, by=by, organization="org1")
        assert sum(row["calls"] for row in rows) == 2
        rows = await _ask(books, by=by, since_s=begin_s + DAY_S, until_s=begin_s + 4 * DAY_S)
        assert sum(row["calls"] for row in rows) == 3
        rows = await _ask(books, by=by, key_id=key_id, since_s=begin_s + DAY_S)
        assert sum(row["calls"] for row in rows) == 1
    assert await _ask(books, by=("day",), model="another") == []


async def test_pages_and_names(books: Books) -> None:
    """Pages follow one another in order, and periods read as people write them."""
    await _used(books)
    services: Any = SimpleNamespace(store=books.store)
    first = await SUMS.answer(services, SumsQuery(1, by=("day", "key"), limit=4))
    second = await SUMS.answer(services, SumsQuery(1, by=("day", "key"), limit=4, after=int(first.cursor)))
    assert (len(first.rows), len(second.rows), second.cursor) == (4, 2, 0)
    days = [row["day"] for row in (*first.rows, *second.rows)]
    assert days == sorted(days)
    assert len(days[0]) == len("2026-11-25")
    (month, *_) = await _ask(books, by=("month",))
    assert month["month"] == days[0][:7]
    (hour, *_) = await _ask(books, by=("hour",))
    assert hour["hour"] == f"{days[0]}T00:00:00Z"


@pytest.mark.parametrize("by", [("year",), ("day", "hour"), ("key", "key")])
async def test_what_cannot_be_summed(books: Books, by: tuple[str, ...]) -> None:
    """An unknown word, two periods, or the same twice is refused in one sentence."""
    services: Any = SimpleNamespace(store=books.store)
    assert (await SUMS.answer(services, SumsQuery(1, by=by))).problem
