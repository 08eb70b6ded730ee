"""Roll-ups: they are the sums of the calls, whatever was committed in what order, and whatever is corrected afterwards."""

import contextlib
from typing import Any

import asyncpg
import pytest

from ledger.commits import rolling
from ledger.commits.rolling import Rolling
from ledger.rollups.reading import sums
from ledger.rollups.sql import ROLLUPS
from schemas.money.pricing import NO_USAGE, TokenUsage
from tests.ledger.conftest import Source
from tests.ledger.harness import USD, Books, Clock, billed, event

SMALL = TokenUsage(input=60, cached=20, output=30, reasoning=10)
HOUR_MS = 3_600_000


async def _settle_rolled(books: Books) -> Rolling:
    """Rolls until nothing is left: on PostgreSQL a mark moves one round after it was seen."""
    books.start()
    made = Rolling(books.writer)
    for _ in range(3):
        await made.step()
    return made


async def _sums(books: Books, table: str = "usage_hours") -> dict[str, int]:
    columns = ("calls", "failed", "input_tokens", "output_tokens", "billed_nano", "cost_nano")
    made = ", ".join(f"COALESCE(SUM({name}), 0)" for name in columns)
    (row,) = await books.store.fetch(f"SELECT {made} FROM {table}")
    return dict(zip(columns, map(int, row), strict=True))


async def _calls(books: Books, count: int, begin: int = 0) -> None:
    for number in range(begin, begin + count):
        await books.hold(f"r{number}")
        await books.settle(event(f"r{number}", SMALL))


async def test_sums_of_hours_and_days(books: Books) -> None:
    """Each table has every call once, in the hour and on the day that it was booked, under key and organisation."""
    await books.key("key", 50 * USD, profile="acme")
    await _calls(books, 3)
    books.clock.turn(3600 * 30)
    await _calls(books, 2, 3)
    await _settle_rolled(books)
    whole = {
        "calls": 5,
        "failed": 0,
        "input_tokens": 300,
        "output_tokens": 150,
        "billed_nano": 5 * billed(SMALL),
    }
    for table in ("usage_hours", "usage_days", "usage_totals"):
        found = await _sums(books, table)
        assert {name: found[name] for name in whole} == whole
    rows = await books.store.fetch("SELECT hour, organization, model, calls FROM usage_totals ORDER BY hour")
    hour = books.clock.ms // HOUR_MS
    assert [tuple(row) for row in rows] == [(hour - 30, "acme", "gpt-4o", 3), (hour, "acme", "gpt-4o", 2)]
    rows = await books.store.fetch("SELECT day, calls FROM usage_days ORDER BY day")
    assert [row[1] for row in rows] == [3, 2]
    await books.check()


async def test_a_backlog_is_rolled_in_bounded_rounds(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than a transaction takes are rolled in several, each once."""
    monkeypatch.setattr(rolling, "ROWS_MAX", 2)
    await books.key("key", 50 * USD)
    await _calls(books, 7)
    made = await _settle_rolled(books)
    assert (await _sums(books))["calls"] == 7
    await made.step()
    assert (await _sums(books))["calls"] == 7
    await books.check()


async def test_one_round_sums_what_was_there(books: Books) -> None:
    """Where no other transaction runs, a round sums every call that was committed when it began: none waits for the next."""
    await books.key("key", 50 * USD)
    books.start()
    made = Rolling(books.writer)
    for begin in (0, 2):
        await _calls(books, 2, begin)
        await made.step()
        assert (await _sums(books))["calls"] == begin + 2


async def test_corrections_follow(books: Books) -> None:
    """A report for a call that was summed as estimated or expired changes the sums in its own hour, to the nano-dollar."""
    await books.key("key", 50 * USD)
    estimated, expired, forgiven = [await books.hold(f"r{number}") for number in range(3)]
    assert await books.estimate(estimated, TokenUsage(input=10, output=5))
    await books.settle(event(forgiven.request_id, SMALL))
    books.clock.turn(31)
    assert await books.expire() >= 1
    await _settle_rolled(books)
    assert (await _sums(books))["failed"] == 1
    await books.check()
    hour = books.clock.ms // HOUR_MS
    books.clock.turn(7200)
    await books.settle(event(estimated.request_id, SMALL), event(expired.request_id, SMALL))
    await books.estimate(forgiven, NO_USAGE, failed=True)
    await books.check()
    found = await _sums(books)
    assert found["calls"] == 3
    assert found["failed"] == 1, "the forgiven one; the expired one went well in the end"
    bills = await books.store.fetch("SELECT SUM(billed_nano) FROM usage")
    assert found["billed_nano"] == int(bills[0][0])
    (before,) = await books.store.fetch("SELECT SUM(calls) FROM usage_hours WHERE hour <= $1", hour)
    assert int(before[0]) == 3, "no call of an hour that is over leaves it"


async def test_a_correction_before_its_call_is_summed(books: Books) -> None:
    """A call that is corrected in the next hour, and was not summed before, leaves each hour with what was booked in it."""
    await books.key("key", 50 * USD)
    books.clock.ms += HOUR_MS - books.clock.ms % HOUR_MS - 1
    hour = books.clock.ms // HOUR_MS
    hold = await books.hold("r0")
    first = TokenUsage(input=10, output=5)
    assert await books.estimate(hold, first)
    assert books.clock.ms // HOUR_MS == hour
    books.clock.turn(1)
    await books.settle(event("r0", SMALL))
    for rolled in (False, True):
        if rolled:
            await _settle_rolled(books)
        rows = await sums(books.store, ROLLUPS[0], ("hour",), "1 = 1")
        told = [(row["hour"] - hour, row["calls"], row["billed_nano"], row["output_tokens"]) for row in rows]
        assert told == [(0, 1, billed(first), 5), (1, 0, billed(SMALL) - billed(first), 25)]
    await books.check()


async def test_the_audit_finds_a_flipped_figure(books: Books) -> None:
    """One figure of one table that is not the sum of its calls is a finding that names the table."""
    await books.key("key", 50 * USD)
    await _calls(books, 2)
    await _settle_rolled(books)
    await books.check()
    for table in ("usage_hours", "usage_days", "usage_totals"):
        async with books.store.write() as tx:
            await tx.execute(f"UPDATE {table} SET cached_tokens = cached_tokens + $1", 1)
        findings = (await books.audit())["findings"]
        assert [one["invariant"] for one in findings] == ["I15"]
        assert table in findings[0]["detail"]
        async with books.store.write() as tx:
            await tx.execute(f"UPDATE {table} SET cached_tokens = cached_tokens - $1", 1)


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_a_transaction_that_stays_open(source: Source, clock: Clock) -> None:
    """A row that is numbered below others and committed three rounds after them is summed all the same, once."""
    books = await Books.open(await source.open(), clock)
    await books.key("key", 50 * USD)
    await _calls(books, 1)
    books.start()
    made = Rolling(books.writer)
    for _ in range(3):
        await made.step()
    assert (await _sums(books))["calls"] == 1
    slow: Any = await asyncpg.connect(source.url.replace("+asyncpg", ""))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(slow.close)
        await slow.execute("SET tokn.revision = '6'")  # as every ledger says
        transaction = slow.transaction()
        await transaction.start()
        columns = [
            row[0]
            for row in await slow.fetch(
                "SELECT column_name FROM information_schema.columns WHERE table_name = 'usage' "
                "AND column_name NOT IN ('seq', 'request_id')"
            )
        ]
        names = ", ".join(columns)
        await slow.execute("UPDATE accounts SET low_nano = 0 WHERE id = 'nobody'")
        await slow.execute(
            f"INSERT INTO usage (request_id, {names}) SELECT 'slow', {names} FROM usage WHERE request_id = 'r0'"
        )
        await _calls(books, 2, 1)
        for _ in range(3):
            await made.step()
        assert (await _sums(books))["calls"] == 1, "two rows are above one that is not committed"
        await transaction.commit()
    for _ in range(3):
        await made.step()
    assert (await _sums(books))["calls"] == 4
    await books.close()


async def test_ledgers_roll_side_by_side(source: Source, clock: Clock) -> None:
    """Two ledgers that roll one database sum each row once."""
    first = await Books.open(await source.open(), clock)
    second = Books(await source.again(), clock)
    await first.key("key", 50 * USD)
    for books in (first, second):
        books.start()
    rollings = [Rolling(books.writer) for books in (first, second)]
    for begin in range(0, 12, 3):
        await _calls(first, 3, begin)
        for made in rollings:
            await made.step()
    for _ in range(3):
        await rollings[begin % 2].step()
    assert (await _sums(first))["calls"] == 12
    await first.check()
    for books in (first, second):
        await books.close()
