"""Owns a look into the ledger's database from outside, for what no command shows."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg

MAGIC = b"SQLite format 3\x00"


def path_of(data: Path) -> Path:
    """The one SQLite file in a data folder."""
    (found,) = [path for path in data.rglob("*") if path.is_file() and _starts(path) == MAGIC]
    return found


def _starts(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(MAGIC))


@contextlib.contextmanager
def opened(data: Path) -> Iterator[sqlite3.Connection]:
    """The books, for reading only."""
    with contextlib.closing(sqlite3.connect(f"file:{path_of(data)}?mode=ro", uri=True, timeout=5)) as books:
        yield books


def read(url: str, sql: str) -> Sequence[Sequence[Any]]:
    """Rows of the books at a database's URL, from where a loop may run."""
    if url.startswith("sqlite:///"):
        path = url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as books:
            return books.execute(sql).fetchall()

    async def fetch() -> Sequence[Sequence[Any]]:
        link = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return list(await link.fetch(sql))
        finally:
            await link.close()

    with ThreadPoolExecutor(1) as apart:
        return apart.submit(lambda: asyncio.run(fetch())).result()


def lowest_available_nano(books: sqlite3.Connection) -> int:
    """The least that any caller's account has left, beyond what is held."""
    query = "SELECT min(posted_nano - held_nano) FROM accounts WHERE kind IN ('metered', 'playground')"
    return int(books.execute(query).fetchone()[0])


def balance(books: sqlite3.Connection, key_id: str) -> tuple[int, int]:
    """What a key has, and what of it its calls in flight hold, in nano-dollars."""
    query = "SELECT posted_nano, held_nano FROM accounts JOIN api_keys ON accounts.id = account_id WHERE api_keys.id = ?"
    posted_nano, held_nano = books.execute(query, (key_id,)).fetchone()
    return posted_nano, held_nano


def unexplained(data: Path, upstream_calls: dict[str, int]) -> list[str]:
    """Request ids with more calls at the upstream than bills, rows of our cost, or an expired hold account for."""
    found = []
    with opened(data) as books:
        for request_id, made in upstream_calls.items():
            rows = books.execute(
                "SELECT attempt, max(tries) FROM usage WHERE request_id = ? GROUP BY attempt", (request_id,)
            ).fetchall()
            explained = sum(max(1, len(json.loads(tries or "[]"))) for _, tries in rows)
            states = [
                state
                for (state,) in books.execute("SELECT state FROM holds WHERE request_id = ?", (request_id,))
            ]
            if explained < made and states != ["expired"]:
                found.append(f"{request_id}: {made} calls, rows {rows}, hold {states}")
    return found
