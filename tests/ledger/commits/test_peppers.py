"""Another pepper takes over while calls run: keys are hashed anew as they are used, and no ledger loses one."""

import hmac
from typing import Any

import pytest

from ledger.commits.pepper import Peppers, check_pepper, unhashed
from ledger.commits.roll import Roll
from ledger.rules.rows import Key, KeySecret
from ledger.store.base import Store
from ledger.verbs.keys import key_find, opened
from runtime.settings.settings import SettingsError
from schemas.verbs.calls import Hold, Reason, Refusal
from schemas.verbs.keys import KeyFind, KeyRotate
from tests.ledger.conftest import Source
from tests.ledger.harness import USD, Books, Clock, digest_of

OLD, NEW = b"the old pepper", b"the new pepper"


async def ledger(source: Source, clock: Clock, name: str, *peppers: bytes, fresh: bool = False) -> Books:
    """A ledger with these peppers, as it is once it has started."""
    store = await (source.open() if fresh else source.again())
    books = await Books.open(store, clock)
    books.committer.peppers = Peppers(peppers)
    await check_pepper(store, books.committer.peppers, name)
    await roll(books, name)
    return books


async def roll(books: Books, name: str) -> None:
    """It says again that it runs."""
    await Roll(books.store, books.writer, name).call()


async def kept(store: Store) -> dict[str, str]:
    """What the books keep of each secret, by its id."""
    return {str(row[0]): str(row[1]) for row in await store.fetch("SELECT id, digest FROM key_secrets")}


def hashed(pepper: bytes, name: str) -> str:
    """What they keep of a key by a pepper."""
    return hmac.digest(pepper, digest_of(name), "sha256").hex()


async def left(books: Books) -> tuple[Any, Any]:
    """How many secrets wait for the new pepper, and how many of these are refused."""
    row = await unhashed(books.store, books.committer.peppers)
    return row["secrets"], row["refused_secrets"]


async def test_a_key_is_hashed_anew_when_it_is_used(source: Source, clock: Clock) -> None:
    """It keeps its id, its secret's id, its balance; the old hash opens nothing any more; what was not used is counted.

    Once the old pepper is gone, a key that was never used is refused, and the count says so before and after.
    """
    books = await ledger(source, clock, "one", OLD, fresh=True)
    used, idle = await books.key("used", nano=USD), await books.key("idle", nano=USD)
    before = await kept(books.store)
    assert await left(books) == (0, 0)
    books.committer.peppers = Peppers((NEW, OLD))
    await check_pepper(books.store, books.committer.peppers, "one")
    await roll(books, "one")
    assert await left(books) == (2, 0)
    assert isinstance(await books.hold("r1", "used"), Hold)
    after = await kept(books.store)
    assert after.keys() == before.keys()
    assert hashed(NEW, "used") in after.values()
    assert hashed(OLD, "used") not in after.values()
    assert hashed(OLD, "idle") in after.values()
    assert await left(books) == (1, 0)
    found = await opened(books.store, *books.committer.digests(digest_of("idle")))
    assert found is not None
    assert found.key.id == idle, "a read finds it, too"
    (row,) = (
        await key_find(
            books.store, KeyFind(1, digest=digest_of("used")), *books.committer.digests(digest_of("used"))
        )
    ).rows
    assert row["id"] == used
    books.committer.peppers = Peppers((NEW,))
    await check_pepper(books.store, books.committer.peppers, "one")
    assert await left(books) == (1, 1)
    assert isinstance(await books.hold("r2", "used"), Hold)
    refused = await books.authorise("r3", "idle")
    assert isinstance(refused, Refusal)
    assert refused.reason == Reason.UNKNOWN_KEY
    with pytest.raises(SettingsError, match="another one"):
        await check_pepper(books.store, Peppers((OLD,)))
    await books.check()
    await books.close()


async def test_the_old_pepper_stays_until_every_ledger_has_the_new_one(source: Source, clock: Clock) -> None:
    """While a ledger without it runs, or one of an older version, keys are hashed as before, and each ledger finds them all.

    The other ledger goes over at its own next word; until then it finds what was hashed anew, and changes nothing back.
    """
    first = await ledger(source, clock, "first", OLD, fresh=True)
    await first.key("key", nano=10 * USD)
    second = await ledger(source, clock, "second", NEW, OLD)
    assert not second.committer.peppers.moves
    await second.key("later", nano=USD)
    for books, name in ((first, "key"), (second, "later"), (first, "later"), (second, "key")):
        assert isinstance(await books.hold(f"{name} {id(books)}", name), Hold)
    assert set((await kept(first.store)).values()) == {hashed(OLD, "key"), hashed(OLD, "later")}
    first.committer.peppers = Peppers((NEW, OLD))
    await check_pepper(first.store, first.committer.peppers, "first")
    await roll(second, "second")
    assert second.committer.peppers.moves
    assert not first.committer.peppers.moves
    assert isinstance(await second.hold("anew", "key"), Hold)
    assert isinstance(await first.hold("found", "key"), Hold)
    assert hashed(NEW, "key") in (await kept(first.store)).values()
    await roll(first, "first")
    assert first.committer.peppers.moves
    assert isinstance(await first.hold("anew too", "later"), Hold)
    assert await left(first) == (0, 0)
    await first.check()
    await second.close()
    await first.close()


async def test_an_older_ledger_keeps_the_old_pepper(source: Source, clock: Clock) -> None:
    """One that says no peppers holds the change up for a minute after it was last seen; its keys without a secret go over too."""
    books = await ledger(source, clock, "one", OLD, fresh=True)
    key_id = await books.key("key", nano=USD)
    async with books.store.write() as tx:
        await tx.execute("DELETE FROM key_secrets")  # as a ledger of 0.2.0 makes keys
        await tx.execute("INSERT INTO ledgers (id, revision, seen_ms) VALUES ('older', 6, $1)", tx.now_ms)
    books.committer.peppers = Peppers((NEW, OLD))
    await check_pepper(books.store, books.committer.peppers, "one")
    await roll(books, "one")
    assert not books.committer.peppers.moves
    assert isinstance(await books.hold("r1", "key"), Hold)
    clock.turn(61)
    await roll(books, "one")
    assert books.committer.peppers.moves
    assert await left(books) == (1, 0)
    assert isinstance(await books.hold("r2", "key"), Hold)
    assert list((await kept(books.store)).values()) == [hashed(NEW, "key")]
    ((digest,),) = await books.store.fetch("SELECT digest FROM api_keys WHERE id = $1", key_id)
    assert digest == hashed(OLD, "key"), "so an older ledger with the old pepper would find it"
    only_old = await opened(books.store, hashed(OLD, "key"))
    assert only_old is None, "but the old hash opens nothing here"
    await books.check()
    await books.close()


async def test_a_rotated_key_goes_over_with_its_secrets(source: Source, clock: Clock) -> None:
    """Each secret is hashed anew when it is used; an old one still ends when it was to end; the same rotation again is the same."""
    books = await ledger(source, clock, "one", OLD, fresh=True)
    key_id = await books.key("first", nano=USD)
    request = KeyRotate(1, key_id, digest_of("second"), "cond", 60_000)
    await books.act("key_rotate", request)
    books.committer.peppers = Peppers((NEW, OLD))
    await check_pepper(books.store, books.committer.peppers, "one")
    await roll(books, "one")
    await books.act("key_rotate", request)
    assert len(await kept(books.store)) == 2
    assert hashed(NEW, "second") in (await kept(books.store)).values()
    assert isinstance(await books.hold("r1", "first"), Hold)
    assert set((await kept(books.store)).values()) == {hashed(NEW, "first"), hashed(NEW, "second")}
    clock.turn(61)
    assert isinstance(await books.authorise("r2", "first"), Refusal)
    assert isinstance(await books.hold("r3", "second"), Hold)
    await books.check()
    await books.close()


async def test_a_pepper_that_was_left_is_not_taken_again(source: Source, clock: Clock) -> None:
    """Two ledgers that name them in another order do not take turns: the newer one stays, and both find every key."""
    one = await ledger(source, clock, "one", NEW, OLD, fresh=True)
    two = await ledger(source, clock, "two", OLD, NEW)
    for _ in range(2):
        await roll(one, "one")
        await roll(two, "two")
        assert one.committer.peppers.id == two.committer.peppers.id
    await one.key("key", nano=USD)
    assert isinstance(await two.hold("r1", "key"), Hold)
    await two.close()
    await one.close()


async def test_a_ledger_that_lost_its_turn_ends(source: Source, clock: Clock) -> None:
    """One that had hung for minutes, and has not the pepper that took over meanwhile, says so and ends: it would refuse good keys."""
    slow = await ledger(source, clock, "slow", OLD, fresh=True)
    await slow.key("key", nano=USD)
    clock.turn(120)
    other = await ledger(source, clock, "other", NEW, OLD)
    assert other.committer.peppers.moves
    with pytest.raises(SettingsError, match="another one"):
        await roll(slow, "slow")
    await other.close()
    await slow.close()


def test_rows_say_their_pepper() -> None:
    """A secret of an older ledger has none; a key's row is what it was."""
    assert KeySecret(digest="", id="", key_id="", hint="", created_ms=0, expires_ms=0).pepper == ""
    assert "pepper" not in Key.__struct_fields__
