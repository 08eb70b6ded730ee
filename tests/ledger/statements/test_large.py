"""Statements of large books: no call is read for them, so a month takes seconds whatever the books have."""

import sys
import time

import pytest

from ledger.commits.ledgers import take_over
from ledger.commits.rolling import Rolling
from ledger.statements.months import month_at
from ledger.store.base import Store
from tests.ledger.bench.filled import BEGIN_MS, fill
from tests.ledger.harness import Books, Clock
from tests.ledger.monthly import Monthly

DAY_MS = 86_400_000
SPAN_MS = 90 * DAY_MS
STATEMENT_S = 5.0
LARGE = 1_000_000
SIZES = [  # calls, their keys, and among how many organisations these are
    pytest.param(3_000, 30, 1),
    pytest.param(3_000, 600, 1),
    pytest.param(1_000_000, 10_000, 1, marks=pytest.mark.long),
    pytest.param(1_000_000, 10_000, 100, marks=pytest.mark.long),
    pytest.param(10_000_000, 100_000, 100, marks=pytest.mark.long),
]
SHARE_SQL = """
    UPDATE api_keys SET profile = 'org' || CAST(CAST(SUBSTR(id, 2) AS bigint) % {0} AS text)
"""

pytestmark = pytest.mark.timeout(7_200)


@pytest.mark.parametrize(("calls", "keys", "organizations"), SIZES)
async def test_a_month_of_large_books(
    store: Store, clock: Clock, calls: int, keys: int, organizations: int
) -> None:
    """A month in the middle of all calls has each of them once, and is made within seconds, drafts and all."""
    await fill(store, calls, keys, SPAN_MS)
    async with store.write() as tx:
        for number in range(organizations):
            await tx.execute(
                "INSERT INTO profiles (id, playground_credits_usd, created_ms) VALUES ($1, '0', 1)",
                f"org{number}",
            )
        await tx.execute(SHARE_SQL.format(organizations), timeout_s=600)
    clock.ms = BEGIN_MS + SPAN_MS
    await take_over(store)
    books = await Books.open(store, clock)
    monthly = Monthly(books)
    rolling = Rolling(books.writer)
    for _ in range(2):
        await rolling.step()
    month = month_at(BEGIN_MS + SPAN_MS // 2, "UTC")
    for name in (month.name, monthly.period):
        started, worked = time.perf_counter(), time.process_time()
        found = await monthly.ask("org0", name, limit=1)
        took_s, cpu_s = time.perf_counter() - started, time.process_time() - worked
        what = f"{store.dialect}: {calls} calls of {organizations}, {name}"
        sys.stdout.write(f"{what}: {took_s:.2f} s, of which this process worked {cpu_s:.2f} s\n")
        assert not found["problem"]
        if calls >= LARGE:  # SQLite works in this process, PostgreSQL beside it
            assert (cpu_s if store.dialect == "sqlite" else took_s) < STATEMENT_S
    (rows,) = await store.fetch(
        "SELECT COUNT(*) FROM usage u JOIN api_keys k ON k.id = u.key_id "
        "WHERE k.profile = 'org0' AND u.created_ms >= $1 AND u.created_ms < $2",
        month.start_ms,
        month.end_ms,
    )
    lines, place = [], 0
    while True:
        reply = await monthly.answer("org0", month.name, after=place)
        lines += reply.rows[0]["lines"]
        place = int(reply.cursor)
        if not place:
            break
    assert sum(line["calls"] for line in lines) == int(rows[0]) > 0
    assert len(lines) <= keys
    await books.close()
