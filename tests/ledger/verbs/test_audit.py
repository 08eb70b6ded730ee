"""The audit finds what is wrong, and says which request it is; sound books pass while calls go on."""

import asyncio

import pytest

from schemas.money.pricing import TokenUsage
from tests.ledger.harness import USD, Books, ask, event

SMALL = TokenUsage(input=80, output=40)


async def _sound(books: Books) -> None:
    await books.key(profile="p")
    await books.key("play", profile="p", playground=True)
    for name in ("r1", "r2", "r3"):
        await books.hold(name)
    await books.settle(event("r1", SMALL), event("r2", SMALL))
    await books.check()


@pytest.mark.parametrize(
    ("sql", "invariant", "request_id"),
    [
        ("UPDATE accounts SET posted_nano = posted_nano + 1 WHERE id = 'revenue'", "I1", ""),
        ("UPDATE accounts SET posted_nano = posted_nano - 1 WHERE kind = 'metered'", "I1", ""),
        ("UPDATE accounts SET held_nano = held_nano + 1 WHERE kind = 'metered'", "I1", ""),
        (
            "UPDATE transfers SET amount_nano = amount_nano + 1 WHERE request_id = 'r1' AND kind = 'charge'",
            "I2",
            "r1",
        ),
        ("DELETE FROM transfers WHERE request_id = 'r2' AND kind = 'cost'", "I2", "r2"),
        ("UPDATE usage SET billed_nano = billed_nano - 1 WHERE request_id = 'r2'", "I2", "r2"),
        ("UPDATE usage SET billed_nano = 999999999999 WHERE request_id = 'r2'", "I5", "r2"),
        ("DELETE FROM usage WHERE request_id = 'r1'", "I3", "r1"),
        ("UPDATE holds SET state = 'open' WHERE request_id = 'r1'", "I3", "r1"),
        ("UPDATE holds SET held_nano = 1 WHERE request_id = 'r3'", "I1", ""),
        ("DELETE FROM holds WHERE request_id = 'r2'", "I5", "r2"),
        ("UPDATE profiles SET playground_credits_usd = '4.999999999'", "I1", ""),
        (
            "UPDATE transfers SET debit = 'deposits' WHERE request_id = 'r1' AND kind = 'charge'",
            "I2",
            "r1",
        ),
        (
            "UPDATE transfers SET credit = 'cost_of_goods' WHERE request_id = 'r1' AND kind = 'charge'",
            "I2",
            "r1",
        ),
        ("UPDATE holds SET held_nano = amount_nano - 1 WHERE request_id = 'r3'", "I1", "r3"),
        ("UPDATE holds SET state = 'estimated' WHERE request_id = 'r3'", "I3", "r3"),
    ],
)
async def test_tampering_is_found(books: Books, sql: str, invariant: str, request_id: str) -> None:
    """Each kind of damage breaks the invariant it should, and names the request where there is one."""
    await _sound(books)
    async with books.store.write() as tx:
        await tx.execute(sql)
    proof = await books.audit()
    assert not proof["ok"]
    assert (invariant, request_id) in {(one["invariant"], one["request_id"]) for one in proof["findings"]}


async def test_a_charge_on_another_callers_account_is_found(books: Books) -> None:
    """Books in which somebody else pays a call, sums and balances all made to fit, do not pass."""
    await _sound(books)
    other = await books.key("other")
    ((payer,),) = await books.store.fetch("SELECT account_id FROM holds WHERE request_id = 'r1'")
    ((nano,),) = await books.store.fetch("SELECT billed_nano FROM usage WHERE request_id = 'r1'")
    async with books.store.write() as tx:
        await tx.execute(
            "UPDATE transfers SET debit = $1 WHERE request_id = 'r1' AND kind = 'charge'", f"key:{other}"
        )
        for account, change in ((payer, nano), (f"key:{other}", -nano)):
            await tx.execute(
                "UPDATE accounts SET posted_nano = posted_nano + $1, spent_nano = spent_nano - $1 WHERE id = $2",
                change,
                account,
            )
    found = (await books.audit())["findings"]
    assert [(one["invariant"], one["request_id"]) for one in found] == [("I2", "r1")]


async def test_an_open_hold_that_holds_nothing_is_found(books: Books) -> None:
    """A hold that reserves less than it promised does not pass, though its account agrees with it."""
    await _sound(books)
    ((payer, held),) = await books.store.fetch(
        "SELECT account_id, held_nano FROM holds WHERE request_id = 'r3'"
    )
    async with books.store.write() as tx:
        await tx.execute("UPDATE holds SET held_nano = 0 WHERE request_id = 'r3'")
        await tx.execute("UPDATE accounts SET held_nano = held_nano - $1 WHERE id = $2", held, payer)
    found = (await books.audit())["findings"]
    assert [(one["invariant"], one["request_id"]) for one in found] == [("I1", "r3")]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_credits_that_are_no_number_are_found(books: Books) -> None:
    """What cannot be read as an amount is a finding, not the audit's end; PostgreSQL's column takes numbers only."""
    await _sound(books)
    async with books.store.write() as tx:
        await tx.execute("UPDATE profiles SET playground_credits_usd = '1,50' WHERE id = 'p'")
    found = (await books.audit())["findings"]
    assert [(one["invariant"], one["detail"][:10]) for one in found] == [("I1", "profile p ")]


async def test_the_database_refuses_an_overdraft(books: Books) -> None:
    """I4 is a constraint too: nothing can write a caller's account below what is held."""
    await _sound(books)
    with pytest.raises(Exception, match="accounts_covered"):
        async with books.store.write() as tx:
            await tx.execute("UPDATE accounts SET posted_nano = held_nano - 1 WHERE kind = 'metered'")
    await books.check()


async def test_the_audit_works_on_a_live_system(books: Books) -> None:
    """Audits between and during commits always pass: each sees one consistent moment."""
    await books.key(nano=1000 * USD)
    writer = books.start()

    async def calls(worker: int) -> None:
        for number in range(30):
            await ask(writer, books.request(f"r{worker}-{number}"))
            await asyncio.sleep(0)

    load = asyncio.gather(*(calls(worker) for worker in range(8)))
    while not load.done():
        proof = await books.audit()
        assert proof["ok"], proof["findings"]
    await load
    assert (await books.check())["open_holds"] == 240
