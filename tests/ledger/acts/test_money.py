"""Every act on money: what it moves between which accounts, what it refuses, and that a refusal changes nothing."""

from typing import Any

import pytest

from schemas.money.pricing import TokenUsage
from schemas.verbs.money import Move, Post, UpstreamDeposit, WriteOff
from tests.ledger.harness import USD, Books, event

LONG = TokenUsage(input=100, output=100_000)


def _post(owner: str, nano: int, **fields: Any) -> Post:
    return Post(1, owner, nano, **({"reason": "because"} | fields))


async def test_what_each_act_moves(books: Books) -> None:
    """Each kind takes its money from its own account of ours, and the key has what all of them come to."""
    key = await books.key(nano=0)
    for name, nano, ours, left in (
        ("deposit", 10 * USD, "deposits", -10 * USD),
        ("promotional", 3 * USD, "promotions", -3 * USD),
        ("goodwill", 2 * USD, "goodwill", -2 * USD),
        ("adjustment", 1 * USD, "adjustments", -1 * USD),
        ("adjustment", -4 * USD, "adjustments", 3 * USD),
        ("deposit_return", 5 * USD, "deposits", -5 * USD),
    ):
        reply = await books.act(name, _post(f"key:{key}", nano))
        assert not reply.problem, reply
        assert await books.account(ours) == left
        credit = reply.rows[0]["credit"]
        assert (credit["kind"], credit["reason"], credit["actor"]) == (name, "because", "tests")
        assert credit["amount_nano"] == (-nano if name == "deposit_return" else nano)
    assert await books.balance(key) == (7 * USD, 0)
    await books.check()


async def test_an_organisations_wallet_and_a_playground(books: Books) -> None:
    """Money goes to a wallet, which is made when it first has some, and to a playground, which shows it."""
    await books.key(profile="acme")
    for owner in ("org:acme", "playground:acme"):
        reply = await books.act("deposit", _post(owner, USD))
        assert reply.rows[0]["posted_nano"] == USD, reply
        assert reply.rows[0]["account"] == owner
    ((kind,),) = await books.store.fetch("SELECT kind FROM accounts WHERE id = 'org:acme'")
    assert kind == "metered"
    await books.check()


async def test_what_is_refused(books: Books) -> None:
    """One sentence says what is wrong, and nothing has changed, not even the audit log."""
    key = await books.key(profile="acme")
    await books.act("deposit", _post(f"key:{key}", USD, reference="inv-1"))
    await books.act("promotional", _post(f"key:{key}", 2 * USD, expires_in_s=60))
    gone = await books.key("gone", profile="acme")
    await books.revoke(gone)
    await books.hold("r1")  # of 0.00075 USD
    other = await books.key("other", profile="elsewhere")
    play = await books.key("play", nano=0, profile="acme", playground=True)
    before = await books.state(), await books.store.fetch("SELECT number, hash FROM audit_head")
    owner = f"key:{key}"
    for name, form, words in (
        ("deposit", _post(owner, 0), "more than 0"),
        ("deposit", _post(owner, -USD), "more than 0"),
        ("deposit", _post(owner, 2**62), "at most 2 billion"),
        ("deposit", _post(owner, USD, reference="inv-1"), "inv-1 was used"),
        ("deposit", _post(owner, USD, expires_in_s=5), "only promotional"),
        ("deposit", _post("key:none", USD), "no key none"),
        ("deposit", _post("org:none", USD), "no organisation none"),
        ("deposit", _post("playground:none", USD), "no profile none"),
        ("deposit", _post("mine", USD), "name a key"),
        ("deposit", _post(f"key:{gone}", USD), "is revoked"),
        ("deposit", _post(owner, USD, reason="x" * 501), "at most 500"),
        ("deposit", _post(owner, USD, reference="x" * 201), "at most 200"),
        ("promotional", _post(owner, USD, expires_ms=1), "after now"),
        ("promotional", _post(owner, USD, expires_in_s=-5), "after now"),
        ("promotional", _post(owner, USD, expires_in_s=2**40), "within ten years"),
        ("goodwill", _post(owner, USD, reason=" "), "a reason is needed"),
        ("goodwill", _post(f"key:{gone}", USD), "is revoked"),
        ("adjustment", _post(owner, 0), "more than 0"),
        ("adjustment", _post(owner, USD, reason=""), "a reason is needed"),
        ("adjustment", _post(owner, -8 * USD), "8.00 USD is more than the 7.9"),
        ("deposit_return", _post(owner, 6 * USD), "more than the 5.9"),
        ("move", Move(1, owner, f"key:{other}", USD), "two organisations"),
        ("move", Move(1, owner, owner, USD), "nothing to move"),
        ("move", Move(1, owner, f"key:{gone}", USD), "is revoked"),
        ("move", Move(1, owner, f"key:{play}", USD), "playground"),
        ("move", Move(1, owner, "key:none", USD), "no key none"),
        ("move", Move(1, f"key:{gone}", owner, 6 * USD), "more than the 5.00"),
        ("write_off", WriteOff(1), "nothing is uncollected"),
        ("upstream_deposit", UpstreamDeposit(1, "openai", "none", USD), "no account openai:none"),
        ("upstream_deposit", UpstreamDeposit(1, "openai", "spare", USD), "no limit"),
        ("upstream_deposit", UpstreamDeposit(1, "openai", "main", -1001 * USD), "1000.00 USD left"),
        ("upstream_deposit", UpstreamDeposit(1, "openai", "main", 0), "more than 0"),
    ):
        reply = await books.act(name, form, key=f"{name}:{words}")
        assert words in reply.problem, (name, form, reply)
        assert "\n" not in reply.problem
    assert (await books.state(), await books.store.fetch("SELECT number, hash FROM audit_head")) == before
    await books.check()


async def test_moves_within_an_organisation(books: Books) -> None:
    """The rest of a revoked key goes to another of its organisation, and to a wallet; what is held stays."""
    first = await books.key("first", 5 * USD, profile="acme")
    second = await books.key("second", 0, profile="acme")
    await books.hold("r1", "first")
    held = (await books.balance(first))[1]
    await books.revoke(first)
    moved = await books.act("move", Move(1, f"key:{first}", f"key:{second}", 3 * USD, "leaves"))
    assert moved.rows[0]["to"]["posted_nano"] == 3 * USD
    await books.act("deposit", _post("org:acme", USD))
    assert not (await books.act("move", Move(1, f"key:{second}", "org:acme", USD))).problem
    assert await books.account("org:acme") == 2 * USD
    assert await books.balance(first) == (2 * USD, held)
    assert held > 0
    too_much = await books.act("move", Move(1, f"key:{first}", f"key:{second}", 2 * USD))
    assert "held by calls in flight" in too_much.problem
    await books.check()


@pytest.mark.uncollected("that is what is written off")
async def test_write_offs(books: Books) -> None:
    """What no balance covered is given up in part, then in full; never more than there is."""
    await books.key()
    await books.hold("r1")
    await books.settle(event("r1", LONG))
    owed = -await books.account("uncollected")
    assert owed > 0
    assert "at most" in (await books.act("write_off", WriteOff(1, owed + 1))).problem
    assert not (await books.act("write_off", WriteOff(1, owed // 3, "too small to chase"))).problem
    assert (await books.act("write_off", WriteOff(1))).rows[0]["uncollected_nano"] == 0
    assert await books.account("bad_debt") == -owed
    assert "nothing is uncollected" in (await books.act("write_off", WriteOff(1))).problem
    await books.check()


async def test_top_ups_of_a_pools_account(books: Books) -> None:
    """An upstream account's credit goes up by what we paid, and down again to nothing; each is told."""
    up = await books.act("upstream_deposit", UpstreamDeposit(1, "openai", "main", 500 * USD, "paid", "po-1"))
    assert up.rows[0]["credit_nano"] == 1500 * USD
    again = await books.act("upstream_deposit", UpstreamDeposit(1, "openai", "main", USD, "", "po-1"))
    assert "po-1 was used" in again.problem
    down = await books.act("upstream_deposit", UpstreamDeposit(1, "openai", "main", -1500 * USD))
    assert down.rows[0]["credit_nano"] == 0
    assert await books.account("upstream:openai:main") == 0
    await books.check()


async def test_all_that_is_given_fits(books: Books) -> None:
    """Promotions, goodwill and adjustments count with deposits: sums of nano-dollars always fit their columns."""
    key = await books.key(nano=0)
    most = 2_000_000_000 * USD
    for name in ("promotional", "goodwill"):
        assert not (await books.act(name, _post(f"key:{key}", most))).problem
    for name in ("deposit", "promotional", "goodwill", "adjustment"):
        assert "4 billion USD" in (await books.act(name, _post(f"key:{key}", most))).problem
    await books.check()
