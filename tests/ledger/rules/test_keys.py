"""What keys and their owners can be told: secrets that follow each other, ends, pauses, lists of models, suspension."""

import itertools
from typing import Any

import pytest

from ledger.rules.keys import TIME_MAX_MS
from ledger.verbs import keys as verbs
from schemas.verbs.calls import Hold, Reason, Refusal
from schemas.verbs.keys import KeyCreate, KeyFind, KeyList, KeyRef, KeyRotate, KeyUpdate
from schemas.verbs.organizations import OrganizationCreate
from tests.ledger.harness import USD, Books, digest_of

DAY_MS = 86_400_000
_numbers = itertools.count()


async def rotate(books: Books, key_id: str, name: str, overlap_ms: int = 0) -> Any:
    """Another secret for a key."""
    return await books.do(KeyRotate(1, key_id, digest_of(name), name[-4:], overlap_ms))


async def opens(books: Books, name: str) -> str:
    """What a secret opens by both ways of asking: "hold", or why not, which must be the same for both."""
    reply = await books.authorise(f"opens{next(_numbers)}", name)
    known = await verbs.key(books.store, books.committer.digest(digest_of(name)))
    if isinstance(reply, Hold):
        await books.release(reply)
        assert (known.active, known.barred) == (True, "")
        return "hold"
    if reply.reason in {Reason.UNKNOWN_KEY, Reason.EXPIRED}:
        assert (known.active, known.expired_ms) == (False, reply.expired_ms)
    else:
        assert (known.active, known.barred) == (True, reply.reason)
    return str(reply.reason)


async def shown(books: Books, key_id: str) -> dict[str, Any]:
    """A key as commands show it."""
    return (await verbs.key_show(books.store, key_id)).rows[0]


async def test_rotation_with_overlap(books: Books) -> None:
    """Both secrets open the key until the overlap is over, then only the new one; a hold of before is the same key's."""
    key_id = await books.key("old-aaaa")
    reply = await rotate(books, key_id, "new-bbbb", 3_600_000)
    assert [one["hint"] for one in reply.rows[0]["secrets"]] == ["", "bbbb"]
    assert reply.rows[0]["version"] == 2
    assert await rotate(books, key_id, "new-bbbb", 3_600_000) == reply, "the same again changes nothing"
    books.clock.turn(3_599)
    hold = await books.hold("r1", "old-aaaa")
    assert [await opens(books, name) for name in ("old-aaaa", "new-bbbb")] == ["hold", "hold"]
    books.clock.turn(1)
    assert [await opens(books, name) for name in ("old-aaaa", "new-bbbb")] == ["expired", "hold"]
    again = await books.hold("r1", "new-bbbb")
    assert (again.key_id, again.token, again.scope) == (key_id, hold.token, hold.scope)
    assert [one["hint"] for one in (await shown(books, key_id))["secrets"]] == ["bbbb"]


async def test_rotation_at_once_and_its_bounds(books: Books) -> None:
    """Without overlap the old secret is dead at once; five live at a time; none is another key's, and revoked keys get none."""
    key_id, other = await books.key("s0"), await books.key("other")
    assert not (await rotate(books, key_id, "s1", 0)).problem
    assert [await opens(books, name) for name in ("s0", "s1")] == ["expired", "hold"]
    for number in range(2, 6):
        assert not (await rotate(books, key_id, f"s{number}", DAY_MS)).problem
    assert "5 secrets" in (await rotate(books, key_id, "s6", DAY_MS)).problem
    assert [await opens(books, f"s{number}") for number in range(7)] == [
        "expired",
        *["hold"] * 5,
        "unknown_key",
    ]
    assert "another key's" in (await rotate(books, key_id, "other", 0)).problem
    for overlap_ms in (-1, 30 * DAY_MS + 1):
        assert "overlap" in (await rotate(books, key_id, "s6", overlap_ms)).problem
    assert not (await rotate(books, key_id, "s6", 0)).problem
    assert [await opens(books, f"s{number}") for number in range(7)] == [*["expired"] * 6, "hold"]
    # A longer overlap never lengthens a shorter one that was promised before.
    assert not (await rotate(books, key_id, "s7", 1000)).problem
    assert not (await rotate(books, key_id, "s8", DAY_MS)).problem
    books.clock.turn(1)
    assert [await opens(books, name) for name in ("s6", "s7", "s8")] == ["expired", "hold", "hold"]
    await books.revoke(other)
    assert "revoked" in (await rotate(books, other, "o1", 0)).problem
    assert [await opens(books, name) for name in ("other", "o1")] == ["unknown_key", "unknown_key"]
    assert (await rotate(books, "key_none", "n", 0)).missing


async def test_a_key_of_an_older_ledger_is_found_and_rotated(books: Books) -> None:
    """A key without a row of secrets is found by its own digest; once rotated, its first secret ends like any other."""
    key_id = await books.key("first")
    async with books.store.write() as tx:
        await tx.execute("DELETE FROM key_secrets")
    assert await opens(books, "first") == "hold"
    digest = books.committer.digest(digest_of("first"))
    found = await verbs.key_find(books.store, KeyFind(1, digest=b"-"), digest)
    assert found.rows[0]["id"] == key_id
    assert not (await rotate(books, key_id, "second", 0)).problem
    assert [await opens(books, name) for name in ("first", "second")] == ["expired", "hold"]


async def test_expiry(books: Books) -> None:
    """A key is a 401 from its moment on, shown as expired, and lives again when that is moved; no moment may lie behind."""
    key_id = await books.key()
    now = books.clock.ms
    assert "ahead" in (await books.do(KeyUpdate(1, key_id, expires_ms=now))).problem
    assert "ahead" in (await books.do(KeyUpdate(1, key_id, expires_ms=TIME_MAX_MS + 1))).problem
    row = (await books.do(KeyUpdate(1, key_id, expires_ms=now + 5_000))).rows[0]
    assert (row["status"], row["expires_at"]) == ("active", (now + 5_000) // 1000)
    books.clock.turn(4.999)
    assert await opens(books, "key") == "hold"
    books.clock.turn(0.001)
    assert await opens(books, "key") == "expired"
    assert (await books.authorise("r2")) == Refusal(Reason.EXPIRED, key_id=key_id, expired_ms=now + 5_000)
    assert (await shown(books, key_id))["status"] == "expired"
    await books.do(KeyUpdate(1, key_id, expires_ms=0))
    assert await opens(books, "key") == "hold"


async def test_a_length_of_life_is_asked_for_again(books: Books) -> None:
    """A key that is to live for so long ends so long after the act; the same act again later is the same act."""

    def made(seconds: int) -> KeyCreate:
        return KeyCreate(1, digest_of("lives"), "", "", USD, None, False, expires_in_s=seconds)

    for wrong in (-1, TIME_MAX_MS):
        assert "ahead" in (await books.act("key_create", made(wrong), key="c")).problem
    begun = books.clock.ms
    first = await books.act("key_create", made(60), key="c")
    books.clock.turn(7)
    assert await books.act("key_create", made(60), key="c") == first
    assert "idempotency_mismatch" in (await books.act("key_create", made(61), key="c")).problem
    (row,) = first.rows
    assert row["expires_at"] == begun // 1000 + 60
    longer = KeyUpdate(1, str(row["id"]), expires_in_s=90 * 86_400)
    moved = await books.act("key_update", longer, key="u")
    books.clock.turn(7)
    assert await books.act("key_update", longer, key="u") == moved
    assert moved.rows[0]["expires_at"] == begun // 1000 + 7 + 90 * 86_400
    books.clock.turn(90 * 86_400 - 7.001)
    assert await opens(books, "lives") == "hold"
    books.clock.turn(0.001)
    assert await opens(books, "lives") == "expired"


async def test_pause_and_revocation(books: Books) -> None:
    """A paused key calls again when it is resumed; a revoked one never, whatever it is told."""
    key_id = await books.key()
    await books.do(KeyUpdate(1, key_id, status="paused"))
    assert await opens(books, "key") == "paused"
    await books.do(KeyUpdate(1, key_id, status="active"))
    assert await opens(books, "key") == "hold"
    await books.do(KeyUpdate(1, key_id, status="paused"))
    row = (await books.do(KeyRef(1, key_id))).rows[0]
    assert row["revoked_at"] == books.clock.ms // 1000
    for status in ("active", "paused", ""):
        assert "revoked" in (await books.do(KeyUpdate(1, key_id, name="x", status=status))).problem
    assert await opens(books, "key") == "unknown_key"
    assert "active or paused" in (await books.do(KeyUpdate(1, key_id, status="revoked"))).problem


async def test_an_update_changes_what_it_names(books: Books) -> None:
    """What is not named stays; the version grows by one with each change, and not without one."""
    key_id = await books.key("k", providers=("openai",))
    row = (await books.do(KeyUpdate(1, key_id, name="new", models=("gpt-4o*", "x")))).rows[0]
    assert (row["name"], row["models"], row["providers"], row["version"]) == (
        "new",
        ("gpt-4o*", "x"),
        ("openai",),
        2,
    )
    assert (await books.do(KeyUpdate(1, key_id, name="new"))).rows[0] == row
    row = (await books.do(KeyUpdate(1, key_id, models=(), providers=()))).rows[0]
    assert (row["name"], row["models"], row["providers"], row["version"]) == ("new", None, None, 3)
    for wrong in (("",), ("a b",), ("a*b",), ("x" * 201,), ("m",) * 101, ("a\x00",)):
        assert (await books.do(KeyUpdate(1, key_id, models=wrong))).problem
    assert "200 characters" in (await books.do(KeyUpdate(1, key_id, name="x" * 201))).problem
    assert (await books.do(KeyUpdate(1, "key_none", name="x"))).missing
    assert (await shown(books, key_id))["version"] == 3


@pytest.mark.parametrize(
    ("names", "model", "allowed"),
    [
        (("gpt-4o",), "gpt-4o", True),
        (("gpt-4o",), "gpt-4o-mini", False),
        (("gpt-4o*",), "gpt-4o-mini", True),
        (("claude-*", "gpt-4o-m*"), "gpt-4o-mini", True),
        (("claude-*",), "gpt-4o", False),
        (("*",), "gpt-4o", True),
    ],
)
async def test_lists_of_models(books: Books, names: tuple[str, ...], model: str, allowed: bool) -> None:
    """A key may use ids of its list, and ids that begin as one with a star; of several models those that it may."""
    key_id = await books.key()
    await books.do(KeyUpdate(1, key_id, models=names))
    reply = await books.authorise("r1", model=model)
    if allowed:
        assert isinstance(reply, Hold)
    else:
        assert reply == Refusal(Reason.MODEL_DENIED, key_id=key_id)


async def test_pages_of_keys_by_filters(books: Books) -> None:
    """Keys are listed by organisation, by status as they are now, and by a part of their name, page by page."""
    ids = {name: await books.key(name, profile=owner) for name, owner in NAMED.items()}
    await books.do(KeyUpdate(1, ids["Alice"], status="paused"))
    await books.do(KeyUpdate(1, ids["alf"], expires_ms=books.clock.ms + 1))
    await books.revoke(ids["b_b"])
    books.clock.turn(1)
    for filters, names in (
        ({}, set(NAMED)),
        ({"organization": "acme"}, {"Alice", "b_b"}),
        ({"organization": "none"}, set()),
        ({"status": "paused"}, {"Alice"}),
        ({"status": "expired"}, {"alf"}),
        ({"status": "revoked"}, {"b_b"}),
        ({"status": "active"}, {"bob"}),
        ({"name": "AL"}, {"Alice", "alf"}),
        ({"name": "_"}, {"b_b"}),
        ({"name": "%"}, set()),
        ({"organization": "acme", "name": "al", "status": "paused"}, {"Alice"}),
    ):
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = await verbs.key_list(books.store, KeyList(1, after=after, limit=1, **filters))
            found += page.rows
            if not page.cursor:
                break
            after = str(page.cursor)
        assert sorted(row["name"] for row in found) == sorted(names), filters


NAMED = {"Alice": "acme", "alf": "", "bob": "", "b_b": "acme"}


async def test_a_key_is_found_by_name_or_secret(books: Books) -> None:
    """A name that one key has, or a secret, finds it; a name of several, and what nobody has, is refused without an echo."""
    one, two = await books.key("a"), await books.key("b")
    find = verbs.key_find

    async def named(name: str) -> Any:
        return await find(books.store, KeyFind(1, name=name), "")

    assert (await named("a")).rows[0]["id"] == one
    await rotate(books, two, "second", 1000)
    for secret in ("b", "second"):
        digest = books.committer.digest(digest_of(secret))
        assert (await find(books.store, KeyFind(1, digest=b"-"), digest)).rows[0]["id"] == two
    await books.do(KeyUpdate(1, two, name="a"))
    assert "several" in (await named("a")).problem
    assert "tokn key list" in (await named("nobody")).problem
    nobody = await find(books.store, KeyFind(1, digest=b"-"), "0" * 64)
    assert nobody.missing
    assert "tokn key list" in nobody.problem


async def test_an_organisations_wallet(books: Books) -> None:
    """Keys that draw on it spend one balance; they have none of their own, and a credit to one says where it went."""
    await books.do(OrganizationCreate(1, "acme", "Acme", timezone="Europe/Berlin"))
    keys = []
    for name in ("w1", "w2"):
        made = await books.do(KeyCreate(1, digest_of(name), name, "acme", 0, None, False, wallet=True))
        keys.append(made.rows[0]["id"])
        assert made.rows[0]["draws_on"] == "organization"
    refused = await books.do(KeyCreate(1, digest_of("w3"), "", "acme", 1, None, False, wallet=True))
    assert "no balance of its own" in refused.problem
    both = await books.do(KeyCreate(1, digest_of("w3"), "", "acme", 0, None, True, wallet=True))
    assert "not on both" in both.problem
    assert (await books.authorise("r0", "w1")).reason == Reason.INSUFFICIENT
    row = (await books.credit("c1", USD, key_id=keys[0])).rows[0]
    assert (row["account"], row["posted_nano"]) == ("org:acme", USD)
    hold = await books.hold("r1", "w1")
    assert (await books.balance(keys[1])) == (USD, hold.amount_nano)
    await books.check()
