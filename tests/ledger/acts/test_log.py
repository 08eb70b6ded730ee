"""The audit log: each act has its entry with what was before and after, no secret in it, and no byte of it can change unseen."""

import json
from typing import Any

import pytest

from ledger.acts import ACTS
from ledger.store.base import StoreError
from ledger.verbs.acts import log_page
from schemas.money.pricing import TokenUsage
from schemas.verbs.acts import LogQuery
from schemas.verbs.caps import CapCreate, CapEnd, CapUpdate, NewCap
from schemas.verbs.keys import Credit, KeyCreate, KeyRef, KeyRotate, KeyUpdate
from schemas.verbs.limits import LimitsSet
from schemas.verbs.money import Move, Post, Refund, UpstreamDeposit, WriteOff
from schemas.verbs.organizations import OrganizationCreate, OrganizationUpdate
from schemas.verbs.surprises import SurprisesForget
from tests.ledger.harness import USD, Books, digest_of, event
from tests.ledger.people import PEOPLE

MAKERS = {
    "upstream_deposit",
    "key_create",
    "cap_create",
    "org_create",
    "surprises_forget",
}  # that need not change what is there
LONG = TokenUsage(input=100, output=100_000)


async def _entries(books: Books, **fields: Any) -> list[dict[str, Any]]:
    return list((await log_page(books.store, LogQuery(**fields))).rows)


async def _every_act(books: Books) -> dict[str, Any]:
    """Each act done once, by its name. The forms are those that were asked for."""
    create = KeyCreate(1, digest_of("one"), "one", "acme", 50 * USD, None, False)
    key = str((await books.act("key_create", create)).rows[0]["id"])
    other = await books.key("other", profile="acme")
    await books.hold("r1", "one")
    await books.hold("r2", "one")
    await books.settle(event("r1", TokenUsage(input=80, output=40)), event("r2", LONG))
    forms: dict[str, Any] = {
        "credit": Credit(1, "credit-1", USD, key),
        "deposit": Post(1, f"key:{key}", USD, reference="inv-1"),
        "promotional": Post(1, f"key:{key}", USD, expires_in_s=60),
        "goodwill": Post(1, f"key:{key}", USD, "sorry"),
        "adjustment": Post(1, f"key:{key}", -USD, "typed twice"),
        "deposit_return": Post(1, f"key:{key}", USD, "leaves"),
        "refund": Refund(1, "r1"),
        "move": Move(1, f"key:{key}", f"key:{other}", USD),
        "write_off": WriteOff(1),
        "upstream_deposit": UpstreamDeposit(1, "openai", "main", USD),
        "limits_set": LimitsSet(1, key, rpm=60),
        "cap_create": CapCreate(1, NewCap("cap_1", "day", USD, "UTC"), key),
        "cap_update": CapUpdate(1, "cap_1", 2 * USD, None),
        "cap_end": CapEnd(1, "cap_1"),
        "surprises_forget": SurprisesForget(1, "openai"),
        "key_update": KeyUpdate(1, key, name="another"),
        "key_rotate": KeyRotate(1, key, digest_of("two"), "wxyz", 3_600_000),
        "org_create": OrganizationCreate(1, "beta", "Beta"),
        "org_update": OrganizationUpdate(1, "beta", "Better"),
        "key_revoke": KeyRef(1, key),
    }
    for name, form in forms.items():
        reply = await books.act(name, form, actor="cli:ann@desk", key=f"key-of-{name}")
        assert not reply.problem, (name, reply)
    return {"key_create": create, **forms}


@pytest.mark.uncollected("that is what is written off")
async def test_every_act_has_its_entry(books: Books) -> None:
    """Newest first: who did what to what, and of each row that it changed the fields that differ. No digest is in it."""
    done = await _every_act(books)
    # Theirs are tested with them.
    elsewhere = (
        PEOPLE
        | {"sign_in_oidc", "export"}
        | {one.name for one in ACTS if one.name.startswith(("parked_", "webhook_", "settings_"))}
    )
    assert set(done) == {one.name for one in ACTS} - elsewhere
    entries = {one["action"]: one for one in await _entries(books)}
    assert set(entries) == set(done)
    for name, entry in entries.items():
        assert entry["after"] or name == "surprises_forget", name
        assert entry["before"] or name in MAKERS, name
        assert entry["target"]
        text = json.dumps(entry)
        for secret in ("one", "two"):
            assert digest_of(secret).hex() not in text
            assert books.committer.digest(digest_of(secret)) not in text
    revoked = entries["key_revoke"]
    key = f"api_keys/{revoked['target']}"
    assert revoked["before"][key]["status"] == "active"
    assert revoked["after"][key]["status"] == "revoked"
    assert set(revoked["before"]) == {key}
    assert (revoked["actor"], entries["adjustment"]["reason"]) == ("cli:ann@desk", "typed twice")
    account = f"accounts/key:{revoked['target']}"
    was, then = entries["deposit"]["before"][account], entries["deposit"]["after"][account]
    assert then["posted_nano"] - was["posted_nano"] == USD
    assert set(was) == {"posted_nano"}
    await books.check()


async def test_pages_and_filters(books: Books) -> None:
    """The log is read page by page, by actor, action or target."""
    key = await books.key()
    for number in range(5):
        await books.act("deposit", Post(1, f"key:{key}", 1 + number), actor=f"cli:{number % 2}")
    first = await log_page(books.store, LogQuery(limit=4))
    rest = await log_page(books.store, LogQuery(limit=4, before=int(first.cursor)))
    assert [one["number"] for one in (*first.rows, *rest.rows)] == [6, 5, 4, 3, 2, 1]
    assert rest.cursor == 0
    assert len(await _entries(books, actor="cli:1")) == 2
    assert [one["action"] for one in await _entries(books, action="key_create")] == ["key_create"]
    assert len(await _entries(books, target=key)) == 6
    assert not await _entries(books, target="none")


async def test_system_acts_are_in_it(books: Books) -> None:
    """What ends by its date is an act of the system."""
    key = await books.key()
    await books.act("promotional", Post(1, f"key:{key}", USD, expires_in_s=1))
    books.clock.turn(2)
    await books.expire_lots()
    (entry,) = await _entries(books, action="expiry")
    assert (entry["actor"], entry["target"]) == ("system", f"key:{key}")
    await books.check()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE audit_entries SET reason = 'b' WHERE number = 3", "entry 3 of the audit log"),
        ("UPDATE audit_entries SET after = replace(after, '7', '8') WHERE number = 2", "entry 2 of"),
        ("UPDATE audit_entries SET answer = answer || ' ' WHERE number = 4", "entry 4 of"),
        ("UPDATE audit_entries SET hash = upper(hash) WHERE number = 2", "entry 2 of"),
        ("DELETE FROM audit_entries WHERE number = 1", "entry 1 of the audit log is missing"),
        ("DELETE FROM audit_entries WHERE number = 3", "entry 3 of the audit log is missing"),
        ("DELETE FROM audit_entries WHERE number > 3", "ends with entry 3"),
        ("UPDATE audit_head SET hash = ''", "ends with entry 4"),
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_one_changed_byte_is_named(books: Books, sql: str, words: str) -> None:
    """The audit walks the chain, and names the first entry that is not what was written, or is not there."""
    key = await books.key()
    for number in (1, 2, 3):
        await books.act("deposit", Post(1, f"key:{key}", 7 * number, "a"))
    await books.check()
    async with books.store.write() as tx:
        await tx.execute(sql)
    findings = [one for one in (await books.audit())["findings"] if one["invariant"] == "I16"]
    assert len(findings) == 1
    assert words in findings[0]["detail"]


@pytest.mark.parametrize("dialect", ["postgresql"])
@pytest.mark.parametrize(
    "sql", ["UPDATE audit_entries SET reason = 'b'", "DELETE FROM audit_entries", "TRUNCATE audit_entries"]
)
async def test_the_database_refuses_a_change(books: Books, sql: str) -> None:
    """PostgreSQL itself lets nobody change or remove an entry."""
    await books.key()
    with pytest.raises(StoreError, match="only ever added to"):
        async with books.store.write() as tx:
            await tx.execute(sql)
    await books.check()


@pytest.mark.parametrize(
    ("sql", "invariant", "request_id"),
    [
        ("UPDATE credits SET amount_nano = amount_nano + 1 WHERE kind = 'refund'", "I13", ""),
        ("DELETE FROM credits WHERE kind = 'deposit'", "I13", ""),
        ("UPDATE credits SET account_id = 'key:x' WHERE kind = 'deposit'", "I13", ""),
        ("UPDATE credits SET kind = 'adjustment' WHERE kind = 'goodwill'", "I13", ""),
        ("UPDATE accounts SET lots_nano = lots_nano - 1 WHERE lots_nano > 0", "I13", ""),
        ("UPDATE credits SET gone_nano = 1, remaining_nano = 0 WHERE lot_nano > 0", "I13", ""),
        ("UPDATE accounts SET spent_nano = spent_nano + 1 WHERE kind = 'metered'", "I14", ""),
        ("UPDATE usage SET refunded_nano = refunded_nano - 1 WHERE request_id = 'r1'", "I2", "r1"),
        ("UPDATE usage SET lots_nano = -1 WHERE request_id = 'r2'", "I2", "r2"),
        ("UPDATE transfers SET credit = 'deposits' WHERE kind = 'refund'", "I2", "r1"),
        ("UPDATE transfers SET kind = 'goodwill' WHERE kind = 'refund'", "I2", "r1"),
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_tampering_with_credits_is_found(
    books: Books, sql: str, invariant: str, request_id: str
) -> None:
    """Each kind of damage breaks the invariant it should, and names the call where there is one."""
    key = await books.key()
    await books.act("goodwill", Post(1, f"key:{key}", 7, "sorry"))
    for name in ("r1", "r2"):
        await books.hold(name)
    await books.settle(event("r1", TokenUsage(input=80)), event("r2", TokenUsage(input=80)))
    await books.act("goodwill", Post(1, f"key:{key}", 7_000, "sorry"))
    await books.act("refund", Refund(1, "r1"))
    await books.check()
    async with books.store.write() as tx:
        await tx.execute(sql)
    found = {(one["invariant"], one["request_id"]) for one in (await books.audit())["findings"]}
    assert (invariant, request_id) in found
