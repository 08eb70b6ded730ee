"""The reads that are not hot: compiled ahead of time for both databases, and by their indexes."""

import contextlib
import re
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.store import queries
from ledger.store.queries import Query
from ledger.verbs import keys, usage
from schemas.money.pricing import TokenUsage
from schemas.verbs.keys import KeyList, KeyQuery, KeyReply
from schemas.verbs.usage import UsageQuery
from tests.ledger.harness import Books, digest_of, event

READS = {name: one for name, one in vars(queries).items() if isinstance(one, Query)}
# What ANALYZE writes for 100,000 calls of 50 keys: with it SQLite would rather read all calls before a place than the blocks.
STATISTICS = "INSERT INTO sqlite_stat1 VALUES ('usage', 'usage_key', '100000 8334 167 167 1')"


@pytest.mark.parametrize("name", READS)
def test_every_read_is_compiled_for_both_databases(name: str) -> None:
    """A read has SQL for each database, with the same parameters, each standing in the SQL by its number and once."""
    compiled = READS[name].compiled
    assert compiled.keys() == {"sqlite", "postgresql"}
    assert compiled["sqlite"].names == compiled["postgresql"].names
    for one in compiled.values():
        numbers = [int(number) for number in re.findall(r"\$(\d+)", one.sql)]
        assert numbers == list(range(1, len(one.names) + 1))
        assert len(set(one.names)) == len(one.names)


def test_every_select_is_a_read() -> None:
    """A ledger has a read for each select, and none beside them."""
    from ledger.store.declared import selects  # noqa: PLC0415  only who runs this pays for it

    assert READS.keys() == selects.SELECTS.keys()


async def test_reads_give_their_rows(books: Books) -> None:
    """Every read of keys, pages and receipts answers, on both databases."""
    first, second = await books.key("alice"), await books.key("bob")
    await books.hold("r1", "alice")
    await books.settle(event("r1", TokenUsage(input=5, output=2)))
    store = books.store
    page = await keys.key_list(store, KeyList(1, limit=1))
    rest = await keys.key_list(store, KeyList(1, after=page.cursor, limit=10))
    assert {row["id"] for row in (*page.rows, *rest.rows)} == {first, second}
    assert (await keys.key_show(store, first)).rows[0]["id"] == first
    assert (await keys.balance(store, first)).rows[0]["held_nano"] == 0
    for key_id in ("", first):
        calls = await usage.usage(store, UsageQuery(1, key_id, 10, 0))
        assert [row["request_id"] for row in calls.rows] == ["r1"]
    receipt = await usage.receipt(store, first, "r1")
    assert receipt is not None
    digests = await store.fetch("SELECT digest FROM api_keys WHERE id = $1", first)
    assert (await keys.key(store, digests[0][0])).key_id == first


async def test_a_living_keys_scope_is_that_of_its_holds(books: Books) -> None:
    """What an edge verifies marks by before a hold is what the hold will bring, beside what a hold may take; a dead key has none."""
    key_id = await books.key("alice")
    hold = await books.hold("r1", "alice")
    services: Any = SimpleNamespace(store=books.store, committer=books.committer)
    asked = KeyQuery(1, digest_of("alice"))
    (row,) = (await keys.balance(books.store, key_id)).rows
    assert row["available_nano"] == row["posted_nano"] - hold.amount_nano
    assert await keys.KEY.answer(services, asked) == KeyReply(
        active=True, key_id=key_id, scope=hold.scope, available_nano=row["available_nano"]
    )
    assert await keys.KEY.answer(services, KeyQuery(1, b"nobody")) == KeyReply(active=False)


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("name", READS)
def test_no_read_scans_a_table(sqlite_template: Path, tmp_path: Path, name: str, analysed: bool) -> None:
    """SQLite finds all rows by an index, with statistics and without; calls of a key by their block and key."""
    path = tmp_path / "books.db"
    path.write_bytes(sqlite_template.read_bytes())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if analysed:
            connection.execute("ANALYZE")
            connection.execute(STATISTICS)
            connection.execute("ANALYZE sqlite_schema")
        read = READS[name].compiled["sqlite"]
        sql = "EXPLAIN QUERY PLAN " + re.sub(r"\$(\d+)", r"?\1", read.sql)
        plan = [row[3] for row in connection.execute(sql, [1] * len(read.names))]
    scans = [
        step for step in plan if step.startswith("SCAN ") and step not in ("SCAN blocks", "SCAN CONSTANT ROW")
    ]
    assert scans == (["SCAN k USING INDEX api_keys_created"] if name == "KEYS_FIRST" else [])
    if name == "CALLS_OF_KEY":
        wanted = re.compile(
            r"SEARCH k USING (COVERING )?INDEX usage_key \(<expr>=\? AND key_id=\? AND slot=\? AND seq<\?\)"
        )
        assert any(wanted.fullmatch(step) for step in plan), plan
