"""Monthly statements: what they say is what the journal says, kind by kind, and what is issued stays as it is."""

import asyncio
import json
from typing import Any

import pytest

from ledger.statements.issuing import By
from ledger.statements.months import after, month_at, month_named
from runtime.settings.billing import BillingSettings
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.money import Move, Post, Refund
from tests.ledger.harness import USD, Books, billed, event
from tests.ledger.monthly import Monthly

SMALL = TokenUsage(input=60, cached=20, output=30, reasoning=10)
GUESS = TokenUsage(input=10, output=5)
DAY_S = 86_400


async def _post(books: Books, kind: str, owner: str, nano: int, **fields: Any) -> None:
    reply = await books.act(kind, Post(1, owner, nano, "why", **fields))
    assert not reply.problem, reply.problem


async def _busy(books: Books) -> tuple[str, str, str]:
    """An organisation with three balances and all that can happen to them; its keys, the last one revoked."""
    own = await books.key("own", 5 * USD, profile="acme")
    wallet = await books.key("wallet", 0, profile="acme", wallet=True)
    play = await books.key("play", 0, profile="acme", playground=True)
    await books.credit("c1", 3 * USD, organization="acme")
    await books.credit("c2", USD, profile="acme")
    await _post(books, "promotional", f"key:{own}", USD, expires_in_s=3 * DAY_S)
    await _post(books, "goodwill", "org:acme", USD // 10)
    await _post(books, "adjustment", "org:acme", -USD // 20)
    await _post(books, "deposit_return", f"key:{own}", USD // 2)
    reply = await books.act("move", Move(1, f"key:{own}", "org:acme", USD // 3))
    assert not reply.problem, reply.problem
    for number, name in enumerate(("own", "wallet", "play", "own")):
        await books.hold(f"r{number}", name)
        await books.settle(event(f"r{number}", SMALL))
    assert not (await books.act("refund", Refund(1, "r0", billed(SMALL) // 3))).problem
    await books.revoke(play)
    return own, wallet, play


async def _state(monthly: Monthly) -> list[Any]:
    return [
        [tuple(row) for row in await monthly.store.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")]
        for table in ("statements", "statement_lines")
    ]


async def test_a_month_is_what_the_journal_says(books: Books) -> None:
    """Each kind's lines are its transfers on wallet, playground and all keys; charges stand by key and model."""
    monthly = Monthly(books)
    own, wallet, play = await _busy(books)
    await books.key("other", 7 * USD, profile="else")
    draft = await monthly.prove("acme", monthly.period)
    assert (draft["status"], draft["number"], draft["problem"]) == ("draft", None, None)
    books.clock.turn(4 * DAY_S)
    await books.expire_lots()
    await monthly.roll()
    period = monthly.end_month()
    await monthly.issuing.step()
    found = await monthly.prove("acme", period)
    assert (found["status"], found["number"], found["opening_nano"]) == ("issued", "2026-000001", 0)
    accounts = [await books.account(one) for one in (f"key:{own}", "org:acme", "playground:acme")]
    assert found["closing_nano"] == sum(accounts)
    kinds = [line["kind"] for line in found["lines"] if line["kind"] != "charge"]
    assert kinds == [
        "deposit",
        "deposit_return",
        "promotional",
        "goodwill",
        "refund",
        "adjustment",
        "move",
        "expiry",
    ]
    charges = {line["key"]: line for line in found["lines"] if line["kind"] == "charge"}
    assert {key: (line["calls"], line["tokens"]) for key, line in charges.items()} == {
        own: (2, 240),
        wallet: (1, 120),
        play: (1, 120),
    }
    assert charges[own]["amount_nano"] == -2 * billed(SMALL)
    other = await monthly.prove("else", period)
    assert (other["number"], other["closing_nano"], len(other["lines"])) == ("2026-000002", 7 * USD, 1)
    await books.check()


async def test_what_is_issued_stays(books: Books) -> None:
    """Later refunds, corrections and other sellers change no statement that was issued; they are lines of their own month."""
    monthly = Monthly(books, BillingSettings(name="Seller Ltd", address="1 Road\nTown"))
    await _busy(books)
    late = await books.hold("late", "own")
    assert await books.estimate(late, GUESS)
    await monthly.roll()
    first = monthly.end_month()
    await monthly.issuing.step()
    before = await _state(monthly)
    assert json.loads(before[0][0][11])["name"] == "Seller Ltd"
    monthly.issuing.billing = BillingSettings(name="Other Ltd")
    await books.settle(event("late", SMALL))
    assert not (await books.act("refund", Refund(1, "r1"))).problem
    await books.estimate(await books.hold("gone", "own"), NO_USAGE, failed=True)
    await monthly.roll()
    for _ in range(2):
        await monthly.issuing.step()
    reply = await monthly.issuing.issue("acme", first, By(actor="tests"))
    assert (reply.problem, reply.rows[0]["number"]) == ("", "2026-000001")
    assert await _state(monthly) == before
    told = [one for one in await books.events("statement.issued") if one["organization"] == "acme"]
    assert [(one["object"], one["data"]["number"]) for one in told] == [(reply.rows[0]["id"], "2026-000001")]
    second = monthly.end_month()
    await monthly.issuing.step()
    found = await monthly.prove("acme", second)
    assert (found["number"], found["seller"]["name"]) == ("2026-000002", "Other Ltd")
    assert found["opening_nano"] == (await monthly.ask("acme", first))["closing_nano"]
    lines = {line["kind"]: (line["calls"], line["amount_nano"]) for line in found["lines"]}
    assert lines["refund"] == (1, billed(SMALL))
    assert lines["charge"] == (1, billed(GUESS) - billed(SMALL)), "the call that failed, and a dearer bill"
    await books.check()


async def test_a_month_that_is_not_true_stays_a_draft(books: Books) -> None:
    """A closing that the accounts do not have is not issued: the audit says why, and once they agree it is."""
    monthly = Monthly(books)
    await _busy(books)
    await monthly.roll()
    period = monthly.end_month()
    for sign in ("+", "-"):
        async with books.store.write() as tx:
            await tx.execute(f"UPDATE credits SET amount_nano = amount_nano {sign} 1 WHERE kind = 'goodwill'")
        monthly.issuing._again = 0.0
        for _ in range(2):
            await monthly.issuing.step()
        if sign == "+":
            found = await monthly.ask("acme", period)
            assert (found["status"], found["number"]) == ("draft", None)
            assert "the accounts make" in found["problem"]
            findings = (await books.audit())["findings"]
            told = [one["detail"] for one in findings if one["invariant"] == "I17"]
            assert len(told) == 1
            assert "is not issued: its closing is" in told[0]
    assert (await monthly.prove("acme", period))["number"] == "2026-000001"
    await books.check()


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("UPDATE statements SET closing_nano = closing_nano + 1 WHERE period = '{0}'", "closed with"),
        ("UPDATE statement_lines SET amount_nano = amount_nano + 1 WHERE kind = 'goodwill'", "its lines"),
        (
            "UPDATE transfers SET amount_nano = amount_nano + 1 WHERE kind = 'goodwill'",
            "transfers of its month",
        ),
        ("UPDATE statements SET number = '2026-000009' WHERE number = '2026-000002'", "there are 2 but"),
    ],
)
async def test_the_audit_proves_statements(books: Books, sql: str, what: str) -> None:
    """One changed figure of a statement, of its lines, of its transfers or in its number is found by the audit."""
    monthly = Monthly(books)
    await _busy(books)
    first = monthly.end_month()
    await monthly.issuing.step()
    monthly.end_month()
    await monthly.issuing.step()
    await books.check()
    async with books.store.write() as tx:
        await tx.execute(sql.format(first))
    told = [one["detail"] for one in (await books.audit())["findings"] if one["invariant"] == "I17"]
    assert any(what in one for one in told), told


async def test_in_order_and_in_time(books: Books) -> None:
    """A month is issued fifteen minutes after its end and not before, the oldest first, and an empty one never."""
    monthly = Monthly(books)
    assert (await monthly.answer("nobody", monthly.period)).missing
    await books.key("own", USD, profile="acme")
    await books.key("idle", 0, profile="idle")
    first = monthly.period
    async with books.store.write() as tx:
        await tx.execute("INSERT INTO ledgers (id, revision, seen_ms) VALUES ('older', 0, $1)", tx.now_ms)
    assert "older version" in (await monthly.issuing.issue("acme", first, By(actor="tests"))).problem
    async with books.store.write() as tx:
        await tx.execute("DELETE FROM ledgers WHERE id = 'older'")
    await monthly.roll()
    assert "can be issued" in (await monthly.issuing.issue("acme", first, By(actor="tests"))).problem
    assert "name a month" in (await monthly.issuing.issue("acme", "November", By(actor="tests"))).problem
    monthly.end_month()
    books.clock.turn(-1)
    await monthly.issuing.step()
    assert not (await monthly.listed()).rows
    second = monthly.end_month()
    assert (
        await monthly.issuing.issue("acme", second, By(actor="tests"))
    ).problem == f"{first} is to be issued first"
    assert not (await monthly.issuing.issue("acme", first, By(actor="cli:tests"))).problem
    entries = await books.store.fetch(
        "SELECT actor, target FROM audit_entries WHERE action = 'statement_issue'"
    )
    assert [tuple(row) for row in entries] == [("cli:tests", f"stm_{first.replace('-', '')}_acme")]
    assert "nothing to issue" in (await monthly.issuing.issue("idle", first, By(actor="tests"))).problem
    await monthly.issuing.step()
    rows = (await monthly.listed()).rows
    assert [(row["period"], row["organization"]) for row in rows] == [(second, "acme"), (first, "acme")]
    page = await monthly.listed(organization="acme", limit=1)
    assert (await monthly.listed(organization="acme", limit=1, before=page.cursor)).rows == rows[1:]
    assert (await monthly.answer("acme", "2031-01")).problem == "2031-01 has not begun"
    await books.check()


async def test_two_ledgers_number_without_holes(books: Books, source: Any) -> None:
    """Two ledgers whose errands run at once issue each month once, and no number is missing."""
    other = Books(await source.again(), books.clock)
    pair = [Monthly(books), Monthly(other)]
    for number in range(6):
        await books.key(f"key{number}", USD, profile=f"org{number}")
    for _ in range(2):
        await pair[0].roll()
        pair[0].end_month()
        await asyncio.gather(*(monthly.issuing.step() for monthly in pair))
    numbers = [row["number"] for row in (await pair[0].listed(limit=200)).rows]
    assert sorted(numbers) == [f"2026-{number:06d}" for number in range(1, 13)]
    await books.check()
    await other.close()


async def test_pages_of_lines(books: Books) -> None:
    """Lines come in pages that follow one another, of a draft and of what is issued alike."""
    monthly = Monthly(books)
    for number in range(5):
        await books.key(f"key{number}", USD, profile="acme")
        await books.hold(f"r{number}", f"key{number}")
        await books.settle(event(f"r{number}", SMALL))
    period = monthly.period
    for _ in range(2):
        whole, place, pages = await monthly.ask("acme", period), 0, []
        while True:
            reply = await monthly.answer("acme", period, after=place, limit=2)
            pages += reply.rows[0]["lines"]
            place = int(reply.cursor)
            if not place:
                break
        assert pages == whole["lines"]
        assert len(pages) == 6
        monthly.end_month()
        await monthly.issuing.step()


async def test_months_of_a_time_zone(books: Books) -> None:
    """Months begin at local midnight; after a change of the zone the next one begins where the last one ended."""
    monthly = Monthly(books, BillingSettings(statement_timezone="America/New_York"))
    await books.key("own", 5 * USD, profile="acme")
    month = month_at(books.clock.ms, "America/New_York")
    for number, ms in enumerate((month.end_ms - 1, month.end_ms)):  # 05:00 of UTC
        books.clock.ms = ms
        await books.hold(f"r{number}", "own")
        await books.settle(event(f"r{number}", SMALL))
        if number == 0:
            await monthly.roll()
    await monthly.roll()
    books.clock.ms = month.end_ms + 20 * 60_000
    await monthly.issuing.step()
    found = await monthly.prove("acme", month.name)
    assert [line["calls"] for line in found["lines"]] == [1, 1]
    monthly.issuing.billing = BillingSettings(statement_timezone="Asia/Tokyo")
    following = month_named(after(month).name, "Asia/Tokyo")
    assert following is not None
    assert following.start_ms < month.end_ms
    books.clock.ms = following.end_ms + 20 * 60_000
    await monthly.issuing.step()
    found = await monthly.prove("acme", following.name)
    assert found["starts_at"] * 1000 == month.end_ms
    assert [line["calls"] for line in found["lines"]] == [1]
    await books.check()


def test_months_have_names() -> None:
    """A month's name is the local one, months follow one another without a gap, and what is no month is none."""
    for zone in ("UTC", "America/New_York", "Australia/Sydney", "Pacific/Apia"):
        month = month_named("2011-01", zone)
        assert month is not None
        for number in range(1, 30):
            following = after(month)
            assert following.start_ms == month.end_ms
            assert following.name == f"{2011 + number // 12}-{number % 12 + 1:02d}"
            assert month_at(following.start_ms, zone) == month_at(following.end_ms - 1, zone) == following
            month = following
    assert [month_named(name, "UTC") for name in ("", "2026-13", "2026-1", "2026-O1", "2026-01-01")] == [
        None
    ] * 5
