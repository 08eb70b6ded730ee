"""What a ledger keeps between commits: never what anybody has changed meanwhile, and nothing of a commit that failed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.commits.kept import Kept
from ledger.commits.pepper import Peppers
from schemas.verbs.calls import Hold, Reason
from schemas.verbs.caps import CapUpdate
from schemas.verbs.limits import LimitsSet
from tests.ledger.conftest import Source
from tests.ledger.harness import Books, Clock, event
from tests.ledger.proven import prove
from tests.ledger.rules.capped import HELD, SMALL, SPENT, refused

READS = ("FROM key_secrets", "FROM accounts", "FROM caps", "FROM cap_periods", "FROM rates")


def heard(store: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a store's transactions on SQLite read from now on."""
    said: list[str] = []

    class Listening:
        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def execute(self, sql: str, *parameters: Any) -> Any:
            said.append(sql)
            return self._connection.execute(sql, *parameters)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

    monkeypatch.setattr(store, "_writer", Listening(store._writer))
    return said


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_calls_come_back_to_rows_that_are_there(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key's second call reads nothing of the key, its balance, caps and limits, nor a call's end its hold.

    After an act all is read anew.
    """
    key = await books.key()
    cap = await books.cap(4 * HELD, key_id=key)
    await books.do(LimitsSet(1, key_id=key, rpm=10))
    await books.hold("r1")
    said = heard(books.store, monkeypatch)
    await books.hold("r2")
    begun = len(said)
    await books.settle(event("r1", SMALL))
    assert not [sql for sql in said if any(read in sql for read in READS)]
    assert not [sql for sql in said[begun:] if "FROM holds" in sql]
    assert await books.period(cap) == (SPENT, HELD)
    await books.do(CapUpdate(1, cap, limit_nano=3 * HELD))
    said.clear()
    await books.hold("r3")
    assert [read for read in READS if any(read in sql for sql in said)] == list(READS)
    await books.check()


async def test_two_ledgers_in_turn(source: Source, clock: Clock) -> None:
    """Of two ledgers on one database each sees at once what the other has held, settled, changed and revoked."""
    first, second = (Books(store, clock) for store in (await source.open(), await source.again()))
    first = await Books.open(first.store, clock)
    try:
        key = await first.key()
        cap = await first.cap(4 * HELD, key_id=key)
        for number, books in enumerate((first, second, second, first)):
            await books.hold(f"r{number}")
        for books in (first, second):
            told = await refused(books, "more")
            assert told.cap is not None
            assert (told.cap.limit_nano, told.cap.held_nano) == (4 * HELD, 4 * HELD)
        await second.settle(event("r0", SMALL))
        assert await first.period(cap) == (SPENT, 3 * HELD)
        await first.do(CapUpdate(1, cap, limit_nano=6 * HELD))
        await second.hold("r4")
        await first.hold("r5")
        told = await refused(second, "more")
        assert told.cap is not None
        assert (told.cap.limit_nano, told.cap.held_nano) == (6 * HELD, 5 * HELD)
        await first.revoke(key)
        assert (await second.authorise("r6")).reason is Reason.UNKNOWN_KEY
        await second.check()
    finally:
        await first.store.close()
        await second.store.close()


async def test_what_is_written_beside_is_seen(books: Books) -> None:
    """Another transaction of the same ledger, which is no commit of calls, leaves nothing kept that it changed."""
    await books.key()
    await books.hold("r1")
    async with books.store.write() as tx:
        await tx.execute("UPDATE api_keys SET status = 'paused'")
    assert (await books.authorise("r2")).reason is Reason.PAUSED
    async with books.store.write() as tx:
        await tx.execute("UPDATE api_keys SET status = 'active'")
    await books.hold("r3")
    await books.check()


async def test_a_commit_that_fails_keeps_nothing(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a commit took, and could not write, is free again for the next one."""
    cap = await books.cap(2 * HELD, key_id=await books.key())
    await books.hold("r1")

    async def fails(*_: object) -> None:
        raise RuntimeError("not now")

    with monkeypatch.context() as patched:
        patched.setattr("ledger.commits.commit.save", fails)
        with pytest.raises(RuntimeError, match="not now"):
            await books.hold("r2")
    assert await books.period(cap) == (0, HELD)
    assert isinstance(await books.authorise("r2"), Hold)
    await refused(books, "r3")
    await books.check()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_batch_asks_for_its_own_rows_only(books: Books) -> None:
    """However many rows are kept, a commit looks at those that it wants: it goes through no others."""

    class Counting(dict[Any, Any]):
        passed = 0

        def __iter__(self) -> Iterator[Any]:
            for key in super().__iter__():
                Counting.passed += 1
                yield key

    names = [f"key{number}" for number in range(20)]
    for name in names:
        key = await books.key(name)
        await books.cap(4 * HELD, key_id=key)
        await books.do(LimitsSet(1, key_id=key, rpm=10))
    kept = books.committer._kept = Kept()  # as it is, without the proof of the tests, which goes through all
    await books.commit([books.request(f"r:{name}", name) for name in names])
    kept._rows = {name: Counting(rows) for name, rows in kept._rows.items()}
    await books.hold("r1", names[0])
    await books.settle(event("r1", SMALL))
    assert sum(map(len, kept._rows.values())) > 5 * len(names)
    assert Counting.passed == 0


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_what_is_kept_has_a_bound(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many rows all are read anew, and calls go on as before."""
    rows_of_one = 4  # a key, its secret, its account, and the open hold of its call
    monkeypatch.setattr("ledger.commits.kept.ROWS_MAX", 2 * rows_of_one)
    for number in range(8):
        await books.key(f"key{number}")
    most = 0
    for number in range(16):
        await books.hold(f"r{number}", f"key{number % 8}")
        most = max(most, sum(map(len, books.committer._kept._rows.values())))
    assert most == 3 * rows_of_one
    await books.check()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_another_client_of_the_file(books: Books, source: Source, tmp_path: Path) -> None:
    """What another program does to the file of the books, the next call sees: a change, a VACUUM, a copy put back."""
    cap = await books.cap(4 * HELD, key_id=await books.key())
    with closing(sqlite3.connect(source.path)) as client, closing(sqlite3.connect(tmp_path / "copy")) as copy:
        client.backup(copy)
        for number in range(4):
            await books.hold(f"r{number}")
        await refused(books, "more")
        client.execute("VACUUM")
        await refused(books, "more")
        copy.backup(client)
        for number in range(4):
            await books.hold(f"r{number}")
        assert await books.period(cap) == (0, 4 * HELD)
        client.execute("UPDATE api_keys SET status = 'paused'")
        client.commit()
        assert (await books.authorise("more")).reason is Reason.PAUSED
    await books.check()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_secrets_that_are_hashed_anew(books: Books) -> None:
    """While another pepper takes over, no secret is kept under the hash that it had before."""
    await books.key()
    await books.hold("r1")
    books.committer.peppers = peppers = Peppers((b"another", b"pepper"))
    (former,) = set(peppers._all) - {peppers.wanted}
    for wanted in (former, peppers.wanted):
        peppers.adopt(wanted)
        for number in range(3):
            await books.hold(f"{wanted[:8]}{number}")
    await prove(books.committer)
    books.committer.peppers = Peppers((b"another",))
    await books.hold("last")
    await prove(books.committer)
