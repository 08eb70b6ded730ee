"""What an organisation is to its keys: suspended together, and looked for only where something bounds them."""

import asyncio

from ledger.store.base import Store
from ledger.verbs import organizations as verbs
from schemas.verbs.calls import Hold, Reason
from schemas.verbs.keys import KeyCreate
from schemas.verbs.limits import LimitsSet
from schemas.verbs.organizations import OrganizationCreate, OrganizationList, OrganizationUpdate
from tests.ledger.conftest import Source
from tests.ledger.harness import USD, Books, Clock, digest_of


async def acme(books: Books) -> None:
    """An organisation with a key of each kind, one of another's, and money for all."""
    await books.do(OrganizationCreate(1, "acme", "Acme"))
    await books.key("own", profile="acme")
    await books.key("play", profile="acme", playground=True)
    await books.do(KeyCreate(1, digest_of("wallet"), "", "acme", 0, None, False, wallet=True))
    await books.credit("c1", USD, organization="acme")
    await books.key("other")


async def status(books: Books, status: str) -> None:
    """Suspends an organisation, or resumes it."""
    reply = await books.do(OrganizationUpdate(1, "acme", status=status))
    assert reply.rows[0]["status"] == status


async def limited(books: Books) -> set[str]:
    """The accounts whose calls look for what bounds them."""
    return {row[0] for row in await books.store.fetch("SELECT id FROM accounts WHERE limited")}


async def called(books: Books, prefix: str, *names: str) -> list[str]:
    """What calls of keys come to."""
    replies = [await books.authorise(f"{prefix}{name}", name) for name in names]
    return ["hold" if isinstance(reply, Hold) else str(reply.reason) for reply in replies]


async def test_a_suspended_organisation(books: Books) -> None:
    """All its keys are refused, made before or since, and no other; calls in flight settle; resumed, all is as before."""
    await acme(books)
    hold = await books.hold("r0", "own")
    await status(books, "suspended")
    await books.key("late", profile="acme")
    names = ("own", "play", "wallet", "late", "other")
    assert await called(books, "a", *names) == [*["suspended"] * 4, "hold"]
    assert await books.release(hold)
    await status(books, "active")
    assert await limited(books) == set()
    assert await called(books, "b", *names) == ["hold"] * 5
    await books.check()


async def test_resuming_leaves_what_limits_need(books: Books) -> None:
    """Accounts that a limit of a key or of the organisation bounds stay flagged when it is resumed; new keys get the flag."""
    await acme(books)
    own = (await books.key("limited", profile="acme"),)
    await books.do(LimitsSet(1, key_id=own[0], rpm=5))
    await status(books, "suspended")
    await status(books, "active")
    assert await limited(books) == {f"key:{own[0]}"}
    await books.do(LimitsSet(1, profile="acme", rpm=1))
    fresh = await books.key("fresh", profile="acme")
    assert f"key:{fresh}" in await limited(books)
    assert await called(books, "a", "own", "fresh") == ["hold", "limited"]
    await status(books, "suspended")
    await status(books, "active")
    assert await called(books, "b", "fresh") == ["limited"]


async def test_a_key_made_while_its_organisation_is_suspended(source: Source, clock: Clock) -> None:
    """Two ledgers, one makes keys while the other suspends: no key that was made is left out, before the lock or after."""
    one, two = await source.open(), await source.again()
    first, second = await Books.open(one, clock), Books(two, clock)
    await first.do(OrganizationCreate(1, "acme"))
    for number in range(12):

        async def make(number: int = number) -> None:
            await second.key(f"k{number}", profile="acme")

        turned = "suspended" if number % 2 else "active"
        await asyncio.gather(make(), first.do(OrganizationUpdate(1, "acme", status=turned)))
        names = [f"k{made}" for made in range(number + 1)]
        wanted = "suspended" if number % 2 else "hold"
        assert await called(second, f"a{number}", *names) == [wanted] * len(names)
    for store in (one, two):
        await store.close()


async def test_a_suspension_between_load_and_save(source: Source, clock: Clock) -> None:
    """A call that a ledger has begun to load when another suspends its organisation is refused or was granted before."""
    one, two = await source.open(), await source.again()
    first, second = await Books.open(one, clock), Books(two, clock)
    await acme(first)
    for number in range(10):
        reply, _ = await asyncio.gather(
            second.authorise(f"race{number}", "own"),
            first.do(OrganizationUpdate(1, "acme", status="suspended")),
        )
        assert isinstance(reply, Hold) or reply.reason == Reason.SUSPENDED
        assert await called(second, f"after{number}", "own") == ["suspended"]
        await first.do(OrganizationUpdate(1, "acme", status="active"))
    await first.check()
    for store in (one, two):
        await store.close()


async def test_making_and_changing(books: Books) -> None:
    """The same again is the same; another under its id, an unknown zone, and what does not exist are refused; pages are by id."""
    first = await books.do(OrganizationCreate(1, "acme", "Acme", "a@b.example", "Europe/Berlin"))
    assert await books.do(OrganizationCreate(1, "acme", "Acme", "a@b.example", "Europe/Berlin")) == first
    assert "already" in (await books.do(OrganizationCreate(1, "acme", "Other"))).problem
    for zone in ("Mars/Olympus", "../etc/passwd", "/etc/passwd", "x\x00"):
        assert "time zone" in (await books.do(OrganizationCreate(1, "b", timezone=zone))).problem
    assert (await books.do(OrganizationUpdate(1, "none", name="x"))).missing
    assert (await books.do(OrganizationUpdate(1, "acme", status="paused"))).problem
    assert (await books.credit("c0", USD, organization="none")).missing
    row = (await books.do(OrganizationUpdate(1, "acme", name="New"))).rows[0]
    assert (row["name"], row["email"], row["version"]) == ("New", "a@b.example", 2)
    await books.key("k", profile="older")
    store: Store = books.store
    pages, after = [], ""
    for _ in range(3):
        page = await verbs.org_list(store, OrganizationList(1, after, 1))
        pages += [row["id"] for row in page.rows]
        after = str(page.cursor)
    assert pages == ["acme", "older"]
    assert (await verbs.org_show(store, "acme")).rows[0] == row
    assert (await verbs.org_show(store, "none")).missing
    assert (await books.credit("c1", USD, organization="older")).rows[0]["available_nano"] == USD
    assert (await verbs.org_show(store, "older")).rows[0]["balance"]["available_nano"] == USD
