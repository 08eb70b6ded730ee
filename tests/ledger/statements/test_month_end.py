"""Two months' ends in the middle of everything: statements, accounts, journal, FOCUS and roll-ups are one sum."""

import random
from typing import Any

import pytest

from ledger.rollups.reading import sums
from ledger.rollups.sql import HOUR_MS, ROLLUPS
from ledger.statements.months import Month, month_named
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.money import Move, Post, Refund
from tests.ledger.exported import balances, cost_nano, export, table
from tests.ledger.harness import USD, Books, event
from tests.ledger.monthly import DELAY_S, Monthly

ORGANIZATIONS = ("acme", "else")
KEYS = ("own", "wallet", "play", "rest")
CALLS = [pytest.param(60), pytest.param(2_000, marks=pytest.mark.long)]
SLOW = 5  # calls that are corrected long after they were booked

pytestmark = pytest.mark.timeout(900)


class Life:
    """Everything that can happen to the accounts of some organisations, drawn at random, while time passes."""

    def __init__(self, books: Books, dice: random.Random) -> None:
        self.books = books
        self.dice = dice
        self.keys: dict[str, str] = {}
        self.billed: list[str] = []
        self.late: list[
            Any
        ] = []  # holds that were estimated or have expired, and whose report is still to come
        self.number = 0

    async def begin(self) -> None:
        """Each organisation has a wallet, a playground and four keys."""
        for organization in ORGANIZATIONS:
            for name in KEYS:
                kind = {"wallet": {"wallet": True}, "play": {"playground": True}}.get(name, {})
                nano = 0 if kind else 50 * USD
                secret = f"{organization}.{name}"
                self.keys[secret] = await self.books.key(secret, nano, profile=organization, **kind)
            await self.books.credit(f"w{organization}", 50 * USD, organization=organization)
            await self.books.credit(f"p{organization}", 50 * USD, profile=organization)

    def _usage(self) -> TokenUsage:
        return TokenUsage(
            input=self.dice.randrange(1, 60),
            cached=self.dice.randrange(30),
            output=self.dice.randrange(1, 90),
        )

    async def call(self) -> None:
        """One call, which ends in one of the ways in which calls end."""
        self.number += 1
        hold = await self.books.hold(f"r{self.number:05}", self.dice.choice(list(self.keys)))
        way = self.dice.randrange(10)
        if way == 0:
            await self.books.release(hold)
        elif way == 1:
            await self.books.estimate(hold, NO_USAGE, failed=True)
        elif way in (2, 3):
            if way == 2:
                await self.books.estimate(hold, self._usage())
            self.late.append(hold)  # else nobody ends it: it expires
        else:
            await self.books.settle(event(hold.request_id, self._usage()))
            self.billed.append(hold.request_id)

    async def act(self) -> None:
        """One act, whether it can be done or not."""
        organization = self.dice.choice(ORGANIZATIONS)
        own, wallet = f"key:{self.keys[f'{organization}.own']}", f"org:{organization}"
        nano = self.dice.randrange(1, USD)
        match self.dice.randrange(9):
            case 0:
                await self.books.act(
                    "promotional", Post(1, own, nano, expires_in_s=self.dice.randrange(1, 10**6))
                )
            case 1:
                await self.books.act("goodwill", Post(1, wallet, nano, "sorry"))
            case 2:
                await self.books.act("adjustment", Post(1, own, self.dice.choice((nano, -nano)), "why"))
            case 3:
                await self.books.act("deposit_return", Post(1, own, nano, "why"))
            case 4:
                await self.books.act("deposit", Post(1, own, nano))
            case 5:
                await self.books.act("move", Move(1, own, wallet, nano))
            case 6:
                await self.books.expire_lots()
            case _ if self.billed:
                part = self.dice.choice((0, 1, 1_000))
                await self.books.act("refund", Refund(1, self.dice.choice(self.billed), part))

    async def astride(self, end_ms: int) -> None:
        """A call is estimated in the last millisecond of a month, and reported in the first of the next, before any sum has it."""
        self.books.clock.ms = end_ms - 1
        self.number += 1
        hold = await self.books.hold(f"r{self.number:05}", "acme.own")
        assert await self.books.estimate(hold, TokenUsage(input=1, output=1))
        self.books.clock.ms = end_ms
        await self.books.settle(event(hold.request_id, TokenUsage(input=30, output=40)))

    async def correct(self, keep: int = 0) -> None:
        """Reports come for calls that were estimated or have expired; a bill is taken back."""
        await self.books.expire()
        while len(self.late) > keep:
            hold = self.late.pop(0)
            await self.books.settle(event(hold.request_id, self._usage()))
        if self.billed and self.dice.random() < 0.2:
            hold = self.billed[-1]
            await self.books.act("refund", Refund(1, hold, 1))


async def _prove(monthly: Monthly, months: list[Month]) -> None:
    """All ways to say what a month did say the same, and the last closing is what the accounts have."""
    closing = 0
    for month in months:
        found = [await monthly.prove(organization, month.name) for organization in ORGANIZATIONS]
        lines = [line for one in found for line in one["lines"]]
        charged = -sum(line["amount_nano"] for line in lines if line["kind"] == "charge")
        refunded = sum(line["amount_nano"] for line in lines if line["kind"] == "refund")
        window = {"since_ms": month.start_ms, "until_ms": month.end_ms}
        assert cost_nano(table(await export(monthly, "focus", **window))) == charged - refunded
        hours = f"hour >= {month.start_ms // HOUR_MS} AND hour < {month.end_ms // HOUR_MS}"
        (rolled,) = await sums(monthly.store, ROLLUPS[0], (), hours)
        assert (rolled["billed_nano"], rolled["calls"]) == (
            charged,
            sum(line["calls"] for line in lines if line["kind"] == "charge"),
        )
        closing = sum(one["closing_nano"] for one in found)
    rows = await monthly.store.fetch("SELECT id, posted_nano FROM accounts WHERE posted_nano <> 0")
    accounts = {row[0]: int(row[1]) for row in rows}
    ours = ("key:", "org:", "playground:")
    assert closing == sum(nano for id_, nano in accounts.items() if id_.startswith(ours))
    journal = balances(table(await export(monthly, "journal")))
    assert {id_: nano for id_, nano in journal.items() if nano} == accounts
    (used,) = await monthly.store.fetch("SELECT SUM(billed_nano), SUM(refunded_nano) FROM usage")
    net = int(used[0]) - int(used[1])
    assert cost_nano(table(await export(monthly, "focus"))) == net
    assert sum(int(row["net_nano"]) for row in table(await export(monthly, "calls"))) == net


@pytest.mark.parametrize("count", CALLS)
async def test_over_the_ends_of_months(books: Books, count: int) -> None:
    """Calls, corrections, refunds, credit that ends, and moves on both sides of two months' ends: every sum is the same."""
    dice = random.Random(20261126)
    monthly = Monthly(books)
    life = Life(books, dice)
    await life.begin()
    await monthly.roll()
    first = month_named(monthly.period, "UTC")
    assert first is not None
    months = [first]
    for _ in range(2):
        end_ms = months[-1].end_ms
        # Most of it in the last hour of the month and the first of the next, where all ways to count could differ.
        begin_ms = books.clock.ms = end_ms - HOUR_MS
        for number in range(count // 2):
            books.clock.ms = max(books.clock.ms, begin_ms + 2 * HOUR_MS * number * 2 // count)
            if number == count // 4:
                await life.astride(end_ms)
            await life.call()
            if dice.random() < 0.3:
                await life.act()
            if dice.random() < 0.1:
                await life.correct(SLOW)
            if dice.random() < 0.1:
                await monthly.rolling.step()
        books.clock.ms = end_ms + 2 * HOUR_MS + DELAY_S * 1000
        await monthly.issuing.step()
        following = month_named(monthly.period, "UTC")
        assert following is not None
        months.append(following)
    await life.correct()
    books.clock.turn(1)
    numbers = [row["number"] for row in (await monthly.listed()).rows]
    assert sorted(numbers) == [f"2026-{number:06d}" for number in range(1, 5)]
    for _ in range(2):
        await _prove(monthly, months)
        await monthly.roll()
    await books.check()
