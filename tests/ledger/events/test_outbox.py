"""The outbox: what a commit causes is told in it, once, with whose it is; what nobody asked for costs nothing."""

import msgspec
import pytest

from ledger.commits.commit import Delivery
from schemas.events import BY_NAME
from schemas.verbs.calls import Reason
from schemas.verbs.caps import CapUpdate
from schemas.verbs.keys import KeyRef, KeyRotate, KeyUpdate
from schemas.verbs.money import Post, Refund
from schemas.verbs.organizations import OrganizationCreate, OrganizationUpdate
from tests.ledger.harness import USD, Books, digest_of, event
from tests.ledger.rules.capped import HELD, SMALL, SPENT

HOUR_S = 3_600


async def _call(books: Books, name: str, key: str = "key") -> None:
    await books.hold(name, key)
    await books.settle(event(name, SMALL))


async def test_acts_tell_what_they_changed(books: Books) -> None:
    """Each act on a key, an organisation or money tells its event in its own commit; repeated, it tells nothing more."""
    key_id = await books.key("key", 5 * USD, profile="acme")
    await books.act("key_update", KeyUpdate(1, key_id, name="other"), key="once")
    await books.act("key_update", KeyUpdate(1, key_id, name="other"), key="once")
    await books.act("key_update", KeyUpdate(1, key_id, name="other"))
    await books.act("key_update", KeyUpdate(1, key_id, status="paused"))
    await books.act("key_update", KeyUpdate(1, key_id, status="active"))
    await books.act("key_rotate", KeyRotate(1, key_id, digest_of("new"), "abcd", 0))
    await books.act("org_create", OrganizationCreate(1, "beta", "Beta"))
    await books.act("org_update", OrganizationUpdate(1, "beta", email="a@b.c"))
    await books.act("org_update", OrganizationUpdate(1, "beta", status="suspended"))
    await books.act("promotional", Post(1, f"key:{key_id}", USD, "gift", expires_in_s=60))
    await _call(books, "r1", key="new")
    await books.act("refund", Refund(1, "r1"))
    books.clock.turn(61)
    await books.expire_lots()
    await books.act("key_revoke", KeyRef(1, key_id))
    told = await books.events()
    assert [one["type"] for one in told] == [
        "organization.created",
        "key.created",
        "credit.created",
        "key.updated",
        "key.paused",
        "key.updated",
        "key.rotated",
        "organization.created",
        "organization.updated",
        "organization.suspended",
        "credit.created",
        "call.refunded",
        "credit.expired",
        "key.revoked",
    ]
    assert {one["organization"] for one in told} == {"acme", "beta"}
    assert [one["organization"] for one in told if one["type"].startswith(("credit", "call"))] == ["acme"] * 4
    assert all(one["type"] in BY_NAME for one in told)
    assert len({one["id"] for one in told}) == len(told)
    (paused,) = await books.events("key.paused")
    assert paused["object"] == key_id
    assert paused["data"]["status"] == "paused"
    (refunded,) = await books.events("call.refunded")
    assert refunded["data"]["call"] == "r1"
    assert refunded["data"]["amount_nano"] == SPENT


async def test_a_refused_act_tells_nothing(books: Books) -> None:
    """What changed nothing is no event."""
    key_id = await books.key()
    before = await books.events()
    assert (await books.act("key_update", KeyUpdate(1, key_id, status="odd"))).problem
    assert (await books.act("key_revoke", KeyRef(1, "key_none"))).problem
    assert await books.events() == before


@pytest.mark.parametrize("whose", ["key", "organization"])
async def test_a_low_balance(books: Books, whose: str) -> None:
    """A balance that goes below its mark is told of once, and once when it is back; any number of calls tell nothing more."""
    wallet = whose == "organization"
    if wallet:
        await books.act("org_create", OrganizationCreate(1, "acme"))
        await books.credit("c1", USD + SPENT, organization="acme")
        await books.act("org_update", OrganizationUpdate(1, "acme", low_balance_nano=USD))
    key_id = await books.key("key", 0 if wallet else USD + SPENT, profile="acme", wallet=wallet)
    owner = "org:acme" if wallet else f"key:{key_id}"
    if not wallet:
        reply = await books.act("key_update", KeyUpdate(1, key_id, low_balance_nano=USD))
        assert reply.rows[0]["low_balance_nano"] == USD
    await _call(books, "r1")
    types = ("balance.low", "balance.recovered", "balance.exhausted")
    assert await books.events(*types) == []
    await _call(books, "r2")
    await _call(books, "r3")
    (low,) = await books.events(*types)
    assert (low["type"], low["object"], low["organization"]) == ("balance.low", owner, "acme")
    assert low["data"]["posted_nano"] == USD - SPENT
    assert low["data"]["low_balance_nano"] == USD
    assert low["data"]["draws_on"] == whose
    await books.act("deposit", Post(1, owner, 10 * USD))
    assert [one["type"] for one in await books.events(*types)] == ["balance.low", "balance.recovered"]
    await books.check()


async def test_whose_low_balance(books: Books) -> None:
    """A key that draws on its organisation's wallet has no low balance of its own, and negative ones are refused."""
    key_id = await books.key("key", 0, profile="acme", wallet=True)
    assert "tokn org update" in (await books.do(KeyUpdate(1, key_id, low_balance_nano=USD))).problem
    assert (await books.do(OrganizationUpdate(1, "acme", low_balance_nano=-1))).problem
    own = await books.key("own", USD)
    assert (await books.do(KeyUpdate(1, own, low_balance_nano=-1))).problem


async def test_an_exhausted_balance_is_told_hourly(books: Books) -> None:
    """However many calls are refused for want of money, their account is told of once an hour, by any ledger."""
    key_id = await books.key("key", 1)
    for number in range(5):
        assert (await books.authorise(f"r{number}")).reason is Reason.INSUFFICIENT
    other = Books(books.store, books.clock)
    assert (await other.authorise("other")).reason is Reason.INSUFFICIENT
    (one,) = await books.events("balance.exhausted")
    assert one["object"] == f"key:{key_id}"
    assert one["organization"] == "default"
    books.clock.turn(HOUR_S + 1)
    await books.authorise("later")
    await books.authorise("later still")
    assert len(await books.events("balance.exhausted")) == 2


async def test_caps_tell_once_a_period(books: Books) -> None:
    """A cap tells once a period that its share is spent, and once that it has refused a call; the next period tells anew."""
    key_id = await books.key("key", 5 * USD)
    cap = await books.cap(HELD + 2 * SPENT, key_id=key_id, alert_percent=50)
    for day in range(2):
        refused = 0
        for number in range(6):
            reply = await books.authorise(f"r{day}{number}")
            if getattr(reply, "reason", None) is Reason.CAPPED:
                refused += 1
            else:
                await books.settle(event(f"r{day}{number}", SMALL))
        assert refused >= 2
        told = await books.events("cap.alert", "cap.reached")
        assert [one["type"] for one in told] == ["cap.alert", "cap.reached"] * (day + 1)
        assert {(one["object"], one["organization"]) for one in told} == {(cap, "default")}
        books.clock.turn(24 * HOUR_S)
    alert = told[0]["data"]
    assert alert["current"]["spent_nano"] * 2 >= alert["limit_nano"]
    await books.check()


async def test_a_cap_that_refuses_its_first_call(books: Books) -> None:
    """A period in which nothing was ever spent or held tells that it was reached, once, and of an organisation whose."""
    await books.key("key", 5 * USD, profile="acme")
    await books.cap(1, organization="acme")
    for number in range(3):
        assert (await books.authorise(f"r{number}")).reason is Reason.CAPPED
    (one,) = await books.events("cap.reached")
    assert one["organization"] == "acme"
    assert one["data"]["scope"] == {"organization": "acme"}
    await books.check()


async def test_another_alert(books: Books) -> None:
    """A cap whose figures change tells again when the new share is spent, at once where it is already."""
    key_id = await books.key("key", 5 * USD)
    cap = await books.cap(USD, key_id=key_id)
    await _call(books, "r1")
    assert await books.events("cap.alert") == []
    await books.do(CapUpdate(1, cap, limit_nano=SPENT))
    assert len(await books.events("cap.alert")) == 1
    await books.do(CapUpdate(1, cap, limit_nano=USD))
    await books.do(CapUpdate(1, cap, limit_nano=2 * SPENT))
    assert len(await books.events("cap.alert")) == 1
    await books.do(CapUpdate(1, cap, alert_percent=50))
    assert len(await books.events("cap.alert")) == 2


async def test_a_parked_event_is_told_once(books: Books) -> None:
    """An event that was put aside is told of with its call and why, and not again when the stream repeats it."""
    await books.settle(event("nobody", SMALL))
    await books.settle(event("nobody", SMALL))
    await books.committer.commit([], [Delivery("stream", 9, (), "unreadable", b"x")])
    await books.committer.commit([], [Delivery("stream", 9, (), "unreadable", b"x")])
    told = await books.events("event.parked")
    assert [one["object"] for one in told] == ["nobody", "stream:9"]
    assert told[0]["data"]["why"] == "no hold with this request id"


async def test_a_plain_call_costs_no_statement(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of a key without a low balance or a cap asks for nothing of events, granted, settled or with one that is set."""
    seen: list[str] = []
    await books.key("key", 50 * USD)
    low = await books.key("low", 50 * USD)
    await books.do(KeyUpdate(1, low, low_balance_nano=USD))
    async with books.store.write() as tx:
        kind = type(tx)
    for number, one in enumerate(("key", "low")):  # whose rows are kept from now on, where they can be
        await _call(books, f"first{number}", key=one)
    for name in ("fetch", "execute"):
        was = getattr(kind, name)

        async def noted(self, sql, *parameters, _was=was, **options):
            seen.append(sql)
            return await _was(self, sql, *parameters, **options)

        monkeypatch.setattr(kind, name, noted)
    await _call(books, "r1")
    plain = list(seen)
    seen.clear()
    await _call(books, "r2", key="low")
    assert not any("events" in one for one in plain)
    assert len(seen) == len(plain), "nor for one whose balance is not low yet"


async def test_a_body_is_bounded(books: Books) -> None:
    """An event about an object that is too long names it and says so."""
    names = tuple(f"model-{number:03}-{'x' * 150}" for number in range(100))
    key_id = await books.key()
    reply = await books.do(KeyUpdate(1, key_id, models=names * 2))
    if reply.problem:
        reply = await books.do(KeyUpdate(1, key_id, models=names))
    assert not reply.problem, reply.problem
    (row,) = await books.store.fetch("SELECT body FROM events WHERE type = 'key.updated'")
    assert len(row[0]) <= 20_000
    assert msgspec.json.decode(row[0])["data"]["object"]["id"] == key_id
