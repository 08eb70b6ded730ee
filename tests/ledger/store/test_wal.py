import shutil
import sqlite3
from types import SimpleNamespace

import pytest

from ledger.store import sqlite
from ledger.store.sqlite import SqliteStore

PAGES = 50
ROWS = 400  # with a reader in the way the log is many times as long


async def write(store: SqliteStore, rows: int) -> None:
    """So many commits of a page each."""
    for number in range(rows):
        async with store.write() as tx:
            await tx.execute(
                "INSERT INTO prices (ref, body) VALUES ($1, $2) ON CONFLICT (ref) DO UPDATE SET body = excluded.body",
                f"wal:{number % 7}",
                str(number) * 900,
            )


@pytest.fixture
def small(monkeypatch):
    """A log that is short at any time."""
    monkeypatch.setattr(sqlite, "WAL_CHECKPOINT_PAGES", PAGES)
    monkeypatch.setattr(sqlite, "WAL_CHECKPOINT_PAGES_MIN", PAGES)


async def test_the_log_is_given_back_after_a_long_reader(small, tmp_path):
    """While somebody reads the log grows; once that has ended, the next commits bring it back to its bound, without a restart."""
    store = SqliteStore(tmp_path / "books.db")
    await store.migrate()
    log = tmp_path / "books.db-wal"
    await write(store, ROWS)
    bound = 2 * PAGES * sqlite.WAL_PAGE_BYTES
    assert log.stat().st_size <= bound
    reader = sqlite3.connect(tmp_path / "books.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT COUNT(*) FROM prices").fetchall()
    await write(store, ROWS)
    assert log.stat().st_size > 3 * bound
    reader.close()
    await write(store, PAGES)
    assert log.stat().st_size <= bound
    await store.close()


@pytest.mark.parametrize(
    ("free_bytes", "pages"),
    [(0, 1_000), (64 * 2**20, 1_018), (512 * 2**20, 8_144), (2**30, 16_000), (2**40, 16_000)],
)
def test_a_small_disk_has_a_short_log(free_bytes, pages, monkeypatch, tmp_path):
    """The log is copied back early where its usual length would take much of what is free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free_bytes))
    assert sqlite._wal_pages(tmp_path) == pages
