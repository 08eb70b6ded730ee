"""From SQLite to PostgreSQL: all books are there, proven, and bill the next call at once; or nothing is."""

import contextlib
import shutil
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.commits.commit import Delivery
from ledger.commits.pepper import Peppers, check_pepper
from ledger.importing import import_books
from ledger.store.base import StoreError
from ledger.store.postgres import NUMBERED, PostgresStore
from ledger.store.sqlite import SqliteStore
from runtime.settings.settings import SettingsError
from schemas.money.pricing import TokenUsage
from schemas.verbs.money import Refund
from tests.fakes.books import read
from tests.fakes.postgres import PostgresServer
from tests.fakes.tokn import ask
from tests.ledger.harness import USD, Books, Clock, event

BATCHES, BATCH = 40, 50
USED = TokenUsage(input=100, cached=7, output=50)
BROKEN = "UPDATE accounts SET posted_nano = posted_nano + 1 WHERE id LIKE 'key:%'"


async def fill(path: Path, clock: Clock) -> None:
    """Two thousand calls of three keys in a file, a hold that is open, an event that nobody can book."""
    store = SqliteStore(path, clock)
    await check_pepper(store, Peppers((b"pepper",)))
    books = await Books.open(store, clock)
    keys = ("metered", "wide", "played")
    for name in keys:
        await books.key(
            name, nano=0 if name == "played" else 500 * USD, playground=name == "played", profile="acme"
        )
    await books.credit("credit_played", 70 * USD + 123, profile="acme")
    for batch in range(BATCHES):
        ids = [f"req_{batch}_{number}" for number in range(BATCH)]
        await books.commit([books.request(one, keys[at % 3]) for at, one in enumerate(ids)])
        books.sequence += 1
        events = tuple(event(one, USED) for one in ids)
        await books.committer.commit([], [Delivery("stream", books.sequence, events)])
        clock.turn(600)
    for number in range(3):  # acts, which the log has; the first takes the books over from older ledgers
        reply = await books.act("refund", Refund(1, f"req_0_{number}"))
        assert not reply.problem, reply
    await books.hold("req_open", "wide")
    await books.settle(event("req_nobody", USED))
    await books.check()
    await books.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for the file that the first test fills."""
    return tmp_path_factory.mktemp("filled") / "ledger.db"


@pytest.fixture
async def file(filled: Path, sqlite_template: Path, tmp_path: Path, clock: Clock) -> Path:
    """A stopped file with books, of this test's own."""
    if not filled.exists():
        shutil.copy(sqlite_template, filled)
        await fill(filled, Clock())
    clock.turn(BATCHES * 600)
    return Path(shutil.copy(filled, tmp_path / "ledger.db"))


@pytest.fixture
async def url(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.url(await postgres.database())


def _plain(row: Any) -> tuple[Any, ...]:
    return tuple(
        int(value) if isinstance(value, bool) else str(value) if isinstance(value, Decimal) else value
        for value in row
    )


def contents(url: str, tables: dict[str, list[str]]) -> dict[str, set[tuple[Any, ...]]]:
    """All rows of tables, in one form."""
    return {
        table: {_plain(row) for row in read(url, f"SELECT {', '.join(columns)} FROM {table}")}
        for table, columns in tables.items()
    }


async def test_all_books_go_over(file: Path, url: str, clock: Clock) -> None:
    """Every row of every table is there, exactly; and the next call is billed at once, after the newest row."""
    copied = await import_books(file, url)
    names = [
        row[0] for row in read(f"sqlite:///{file}", "SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    tables = {
        name: [row[1] for row in read(f"sqlite:///{file}", f"PRAGMA table_info({name})")]
        for name in names
        if not name.startswith("sqlite_")
    }
    assert copied.keys() == tables.keys() - {"alembic_version"}
    assert copied["usage"] == BATCHES * BATCH + 1
    assert copied["audit_entries"] >= 3
    theirs, ours = contents(f"sqlite:///{file}", tables), contents(url, tables)
    profile = theirs.pop("profiles"), ours.pop("profiles")
    assert theirs == ours
    # The playground's credits are a text in one and an exact number in the other.
    amounts = [{Decimal(row[1]) for row in rows} for rows in profile]
    assert amounts[0] == amounts[1]
    store = await PostgresStore.open(url, clock, timeout_s=10)
    await store.migrate()
    await check_pepper(store, Peppers((b"pepper",)))
    with pytest.raises(SettingsError):
        await check_pepper(store, Peppers((b"another",)))
    books = await Books.open(store, clock)
    books.sequence = BATCHES + 1
    await books.settle(event((await books.hold("req_next", "metered")).request_id, USED))
    newest = await store.fetch("SELECT request_id, seq FROM usage ORDER BY seq DESC LIMIT 2")
    assert [row[0] for row in newest] == ["req_next", "req_nobody"]
    assert newest[0][1] == newest[1][1] + 1
    await books.check()
    await books.close()


async def _is_empty(url: str) -> bool:
    return all(
        read(url, f"SELECT COUNT(*) FROM {table}")[0][0] == 0 for table in ("usage", "api_keys", "accounts")
    )


async def test_books_that_are_wrong_stay_away(file: Path, url: str) -> None:
    """What the audit does not find in order is refused with the first finding, and the database stays empty."""
    store = SqliteStore(file)
    async with store.write() as tx:
        await tx.execute(BROKEN)
    await store.close()
    with pytest.raises(StoreError, match=r"the audit of .* finds I1"):
        await import_books(file, url)
    assert await _is_empty(url)


async def test_a_file_in_use_stays_away(file: Path, url: str) -> None:
    """A ledger on the file, even an idle one, would go on writing to it: nothing is copied."""
    store = SqliteStore(file)
    with pytest.raises(StoreError, match="in use"):
        await import_books(file, url)
    await store.close()
    assert (await import_books(file, url))["api_keys"] == 3


async def test_books_are_never_mixed(file: Path, url: str, clock: Clock) -> None:
    """A database with books is refused, and keeps what it has; one where a ledger has only started is taken."""
    store = await PostgresStore.open(url, clock, timeout_s=10)
    await store.migrate()
    await check_pepper(store, Peppers((b"of the target",)))
    await import_books(file, url)
    before = read(url, "SELECT id, posted_nano FROM accounts ORDER BY id")
    with pytest.raises(StoreError, match="has books already"):
        await import_books(file, url)
    assert read(url, "SELECT id, posted_nano FROM accounts ORDER BY id") == before
    await store.close()


@pytest.mark.parametrize(
    "spoil", ["UPDATE alembic_version SET version_num = '0005'", "DROP TABLE alembic_version"]
)
async def test_another_revision_stays_away(spoil: str, file: Path, url: str) -> None:
    """A file of another revision is refused in words, and so is a file that is no books."""
    with contextlib.closing(sqlite3.connect(file)) as books:
        books.execute(spoil)
        books.commit()
    with pytest.raises(StoreError, match=r"at revision 0005|cannot be read"):
        await import_books(file, url)


def test_the_command(file: Path, url: str, tmp_path: Path) -> None:
    """It says what it has copied; a second time, and without a PostgreSQL, it is one line and nothing changes."""
    config = tmp_path / "tokn.toml"
    config.write_text(f'[ledger]\ndatabase_url = "{url}"\n')
    words = ("ledger", "--import", str(file), "--config", str(config))
    done, again = ask(*words), ask(*words)
    assert done.returncode == 0, done.stderr
    assert "3 keys, 2001 bills" in done.stdout
    assert again.returncode == 1
    assert again.stderr.startswith("tokn ledger: nothing was imported: the database has books already")
    config.write_text("")
    nowhere = ask(*words)
    assert nowhere.returncode == 3
    assert "must be the PostgreSQL" in nowhere.stderr
    assert [len(one.stderr.splitlines()) for one in (done, again, nowhere)] == [0, 1, 1]


async def test_a_sequence_that_is_behind_catches_up(url: str, clock: Clock) -> None:
    """A start after rows were copied by hand goes on after the newest, and never back."""
    store = await PostgresStore.open(url, clock, timeout_s=10)
    await store.migrate()
    columns = await store.fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND column_default LIKE 'nextval(%'"
    )
    assert tuple(tuple(row) for row in columns) == NUMBERED
    books = await Books.open(store, clock)
    await books.key()
    await books.settle(event((await books.hold("req_1")).request_id, USED))
    async with store.write() as tx:
        await tx.execute("UPDATE usage SET seq = 288")
    await store.migrate()
    await books.settle(event((await books.hold("req_2")).request_id, USED))
    async with store.write() as tx:
        await tx.execute("DELETE FROM usage WHERE seq > 288")
    await store.migrate()
    await books.settle(event((await books.hold("req_3")).request_id, USED))
    rows = await store.fetch("SELECT request_id, seq FROM usage ORDER BY seq")
    assert [tuple(row) for row in rows] == [("req_1", 288), ("req_3", 290)]
    await books.close()
