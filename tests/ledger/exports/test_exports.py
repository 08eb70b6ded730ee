"""Exports of the books: one moment, nothing lost, nothing that came later, and sums that are the books' to the nano-dollar."""

import hashlib
from typing import Any

import pytest

from ledger.exports import asked, calls, focus, journal
from ledger.verbs.exports import EXPORT
from schemas.exports.focus import COLUMNS
from schemas.money.pricing import TokenUsage
from schemas.verbs.exports import EXPORTS, ExportQuery
from schemas.verbs.money import Post, Refund
from tests.ledger.exported import balances, cost_nano, export, table
from tests.ledger.harness import USD, Books, billed, event, listed
from tests.ledger.monthly import Monthly

SMALL = TokenUsage(input=61, cached=20, output=33, reasoning=10)
GUESS = TokenUsage(input=10, output=5)
CALLS = 7


@pytest.fixture
async def monthly(books: Books, monkeypatch: pytest.MonkeyPatch) -> Monthly:
    """Books with calls of two organisations, a refund and an estimate, and pages of two rows."""
    for module in (calls, focus, journal):
        monkeypatch.setattr(module, "PAGE_ROWS", 2)
        if hasattr(module, "SCANNED"):
            monkeypatch.setattr(module, "SCANNED", 5)
    await books.key("own", 5 * USD, profile="acme")
    await books.key("=1+1", 5 * USD, profile="else")
    for number in range(CALLS):
        await books.hold(f"r{number}", "own" if number % 2 else "=1+1")
        await books.settle(event(f"r{number}", SMALL))
        books.clock.turn(1_200)
    assert await books.estimate(await books.hold("late", "own"), GUESS)
    assert not (await books.act("refund", Refund(1, "r1", billed(SMALL) // 3))).problem
    books.clock.turn(1)
    return Monthly(books)


async def _accounts(monthly: Monthly) -> dict[str, int]:
    rows = await monthly.store.fetch("SELECT id, posted_nano FROM accounts WHERE posted_nano <> 0")
    return {row[0]: int(row[1]) for row in rows}


async def _net(monthly: Monthly) -> int:
    (row,) = await monthly.store.fetch("SELECT SUM(billed_nano), SUM(refunded_nano) FROM usage")
    return int(row[0]) - int(row[1])


async def test_the_journal_makes_the_accounts(monthly: Monthly) -> None:
    """Loading the journal and summing gives every account; the comment tells rows, sum and hash of all lines before."""
    text = await export(monthly, "journal")
    rows = table(text)
    assert {id_: nano for id_, nano in balances(rows).items() if nano} == await _accounts(monthly)
    head, comment = text[: text.rindex("# ")], text[text.rindex("# ") :]
    total = sum(int(row["amount_nano"]) for row in rows)
    digest = hashlib.sha256(head.encode()).hexdigest()
    assert comment == f"# rows={len(rows)} sum_nano={total} sha256={digest}\n"
    (stored,) = await monthly.store.fetch("SELECT COUNT(*) FROM transfers")
    assert len(rows) == len({tuple(row.values()) for row in rows}) == int(stored[0])
    charges = [row for row in rows if row["kind"] in ("charge", "cost")]
    assert {row["organization"] for row in charges} == {"acme", "else"}
    assert all(row["key_id"].startswith("key_") for row in charges)
    own = table(await export(monthly, "journal", organization="acme"))
    assert {row["organization"] for row in own} == {"acme"}
    assert not any(row["kind"] == "cost" for row in own), "what we pay is not for a customer"


async def test_calls_have_their_bills(monthly: Monthly) -> None:
    """Each call stands there once, with tokens, list price, bill and refund."""
    rows = table(await export(monthly, "calls"))
    assert [row["request_id"] for row in rows] == [*(f"r{number}" for number in range(CALLS)), "late"]
    assert sum(int(row["net_nano"]) for row in rows) == await _net(monthly)
    call = rows[1]
    assert (call["input_tokens"], call["cached_tokens"], call["output_tokens"]) == ("61", "20", "33")
    assert (int(call["billed_nano"]), int(call["list_nano"])) == (billed(SMALL), listed(SMALL))
    assert int(call["refunded_nano"]) == billed(SMALL) // 3
    assert ":gpt-4o@" in call["price_ref"]
    assert {row["organization"] for row in table(await export(monthly, "calls", organization="else"))} == {
        "else"
    }


async def test_focus_adds_up(monthly: Monthly) -> None:
    """FOCUS rows stand by hour, key, model and class; their costs are exact, and add up to all bills less refunds."""
    rows = table(await export(monthly, "focus"))
    assert tuple(rows[0]) == COLUMNS
    assert cost_nano(rows) == await _net(monthly)
    usage = [row for row in rows if not row["ChargeClass"]]
    names = (
        "ChargePeriodStart",
        "SubAccountId",
        "ResourceId",
        "SkuPriceId",
        "ContractedUnitPrice",
        "x_TokenClass",
    )
    groups = [tuple(row[name] for name in names) for row in usage]
    assert len(groups) == len(set(groups)), "a row for each group"
    assert {row["x_TokenClass"] for row in usage} == {"input", "cached", "output", "reasoning"}
    tokens = sum(int(row["ConsumedQuantity"]) for row in usage)
    assert tokens == CALLS * 124 + 15
    (refund,) = [row for row in rows if row["ChargeClass"]]
    assert (refund["ChargeClass"], refund["ChargeCategory"]) == ("Correction", "Credit")
    assert cost_nano([refund]) == -(billed(SMALL) // 3)
    assert all(row["ChargeDescription"].isascii() for row in rows)
    assert "'=1+1" in {row["SubAccountName"] for row in usage}, "no spreadsheet calculates a key's name"
    assert cost_nano(table(await export(monthly, "focus", organization="acme"))) < cost_nano(rows)


@pytest.mark.parametrize("name", EXPORTS)
async def test_one_moment(monthly: Monthly, name: str) -> None:
    """What is committed between pages does not appear, be it a call, a credit, a refund, or a dearer bill of an old call."""
    books = monthly.books
    before = table(await export(monthly, name))
    number = 0

    async def meanwhile() -> None:
        nonlocal number
        number += 1
        books.clock.turn(1)
        await books.hold(f"a{number:03}", "own")
        await books.settle(event(f"a{number:03}", SMALL))
        if number == 1:
            await books.settle(event("late", SMALL))
            assert not (await books.act("refund", Refund(1, "r3"))).problem
        assert not (await books.act("deposit", Post(1, "org:acme", 5))).problem

    during = table(await export(monthly, name, meanwhile))
    assert number > 3
    if name == "journal":
        assert during == before
        return
    key, amount = ("request_id", "net_nano") if name == "calls" else ("ChargePeriodStart", "BilledCost")
    assert {row[key] for row in during} == {row[key] for row in before}
    if name == "calls":
        assert [row[amount] for row in during] == [row[amount] for row in before]
    else:
        assert cost_nano(during) == cost_nano(before)
    await books.check()


async def test_a_window(monthly: Monthly) -> None:
    """From and to cut exports at what was booked then; windows that follow one another add up to all."""
    (row,) = await monthly.store.fetch("SELECT MIN(created_ms), MAX(created_ms) FROM usage")
    middle = (int(row[0]) + int(row[1])) // 2
    for name in EXPORTS:
        whole = table(await export(monthly, name))
        halves = (
            table(await export(monthly, name, until_ms=middle)),
            table(await export(monthly, name, since_ms=middle)),
        )
        assert all(halves)
        if name == "focus":
            assert sum(map(cost_nano, halves)) == cost_nano(whole)
        else:
            order = [tuple(row.values()) for row in whole]
            assert sorted(tuple(row.values()) for half in halves for row in half) == sorted(order)


async def test_what_cannot_be_asked(monthly: Monthly) -> None:
    """An export that there is not, a cursor that is none, and one of another export are refused."""
    services: Any = monthly
    for query, why in (
        (ExportQuery(name="all"), "exports are"),
        (ExportQuery(cursor="x"), "no cursor"),
        (ExportQuery(cursor='[1,1,true,"nowhere"]'), "another export"),
    ):
        assert why in (await EXPORT.answer(services, query)).problem


@pytest.mark.parametrize("dialect", ["postgresql"])
async def test_a_transaction_that_has_begun(monthly: Monthly, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export waits for whoever began before it and has not committed; what only reads for long holds up nothing."""
    monkeypatch.setattr(asked, "WAIT_S", 0.2)
    store: Any = monthly.store
    services: Any = monthly
    async with store.snapshot() as reader:
        await reader.fetch("SELECT 1")
        moment = await store.moment()
        assert await asked.settled(store, asked.Cursor(*moment))
        async with store.write() as tx:
            await tx.execute("UPDATE accounts SET low_nano = 0 WHERE id = 'nobody'")
            reply = await EXPORT.answer(services, ExportQuery())
            assert reply.rows[0]["rows"] == []
            assert reply.cursor
        reply = await EXPORT.answer(services, ExportQuery(cursor=str(reply.cursor)))
        assert reply.rows[0]["rows"]
