"""Owns the proof that what a ledger keeps between commits is what its database has: every column of every row."""

import sqlite3
from typing import Any

import msgspec

from ledger.commits.commit import Committer
from ledger.commits.fetching import select
from ledger.commits.kept import Kept
from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.rules.limits.rates import Counts
from ledger.rules.rows import Cap, Row, row_of
from ledger.store.sqlite import SqliteStore

_AMONG = "IN (SELECT value FROM json_each(?))"


def differing(kept: Kept, connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """What is kept otherwise than a database has it, each with what that has."""
    found: list[tuple[Any, ...]] = []
    for rows in kept._rows.values():
        found += [(row, there) for row, there in _beside(rows, connection) if row != there]
    in_force: dict[Any, list[Cap]] = {scope: [] for scope in kept._capped}
    for cap in _read(connection, Cap, f"scope {_AMONG} AND ended_ms = 0 ORDER BY id", in_force):
        in_force[cap.scope].append(cap)
    found += [(caps, in_force[scope]) for scope, caps in kept._capped.items() if caps != in_force[scope]]
    for scope, counts in kept._minutes.items():
        row = kept._rows["rates"].get(scope)
        anew = Counts(counts.row, counts.now_ms)
        if counts.row is row and (counts.changed or _figures(counts) != _figures(anew)):
            found.append((_figures(counts), _figures(anew)))
    return found


def _beside(rows: dict[Any, Any], connection: sqlite3.Connection) -> list[tuple[Any, Any]]:
    """Rows that are kept, each with the database's under the same key; None where that has none."""
    if not rows:
        return []
    kind = type(next(iter(rows.values())))
    (key,) = kind.KEY
    there = {getattr(row, key): row for row in _read(connection, kind, f"{key} {_AMONG}", rows)}
    return [(row, there.get(id_)) for id_, row in rows.items()]


def _read(connection: sqlite3.Connection, kind: type[Row], where: str, values: Any) -> list[Any]:
    if not values:
        return []
    rows = connection.execute(select(kind) + where, (msgspec.json.encode(list(values)).decode(),))
    return [row_of(kind, row) for row in rows.fetchall()]


def _figures(counts: Counts) -> tuple[Any, ...]:
    return counts.row.scope, counts.now_s, counts.requests, counts.tokens, counts.asked, counts.used


class Proven(Kept):
    """What is kept on SQLite, each time held against the database before it is lent. `found` is what was otherwise."""

    def __init__(self, store: SqliteStore, found: list[Any]) -> None:
        super().__init__()
        self._beside: sqlite3.Connection = store._reader._connection
        self.found = found

    def lend(self, book: Book, names: Wanted, mark: Any) -> None:
        """As a ledger does. Nothing is written yet, and nobody else can, so that both must be the same."""
        super().lend(book, names, mark)
        self.found += differing(self, self._beside)


async def prove(committer: Committer) -> None:
    """Asserts that what was lent so far, and would be lent to the next commit, is what the database has."""
    store, kept = committer.store, committer._kept
    if isinstance(store, SqliteStore) and isinstance(kept, Proven):
        found = list(kept.found)
        kept.found.clear()
        async with store.write() as tx:
            if kept._mark == tx.mark:
                found += differing(kept, store._reader._connection)
        assert not found
