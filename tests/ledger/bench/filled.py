"""Fills the tables as years of calls would, by SQL, so that the benches can be run on top of them.

python -m tests.ledger.bench.filled --url sqlite:////tmp/filled.db [--calls 10_000_000] [--keys 100_000]
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from ledger.app import open_store
from ledger.prices.offers import Catalogue, price_ref
from ledger.rollups.sql import ROLLUPS
from ledger.store.base import Store
from schemas.catalogue.builtin import BUILTIN
from schemas.money.pricing import TokenUsage

MODEL = "gpt-4o"
PART = 500_000  # calls in one transaction
PART_S = 600.0  # for one of its statements
USAGE = TokenUsage(input=100, output=50)
BEGIN_MS = 1_790_000_000_000
HELD_NANO, KEY_NANO = 5_000_000, 10**12
TRIES = '[["main","gpt-4o","ok",200,"reported",[100,0,0,0,0,50]]]'

_NUMBERS = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n) AS n",
    "postgresql": "generate_series({first}, {last}) AS n(i)",
}
_ID = {
    "sqlite": "printf('%012x%016x', {at}, i)",
    "postgresql": "lpad(to_hex({at}), 12, '0') || lpad(to_hex(i), 16, '0')",
}
_TRANSFERS = (
    "INSERT INTO transfers (request_id, kind, attempt, line, debit, credit, amount_nano, created_ms) SELECT "
)
_PROFILES = (
    "INSERT INTO profiles (id, playground_credits_usd, created_ms) SELECT {organization}, '0', 1 FROM {rows}"
)
_KEY = (
    "INSERT INTO api_keys (id, digest, name, profile, account_id, providers, playground, status, created_ms, revoked_ms) "
    "SELECT {key}, 'digest' || i, '', {organization}, 'key:' || {key}, '', {false}, 'active', 1, 0 FROM {rows}"
)
_KEYS = [
    f"INSERT INTO accounts (id, kind, posted_nano, held_nano) SELECT 'key:' || {{key}}, 'metered', {KEY_NANO}, 0 FROM {{rows}}",
    _KEY,
    _TRANSFERS + "'filled' || i, 'deposit', 0, 0, 'deposits', 'key:' || {key}, {deposit}, 1 FROM {rows}",
]
_HOLDS = f"""
    INSERT INTO holds (request_id, token, key_id, account_id, model, pool, provider, upstream, price_ref, rate,
        amount_nano, list_nano, held_nano, token_limit, limited, prompt_max, choices, attempt, state, lease_ms,
        created_ms, closed_ms)
    SELECT {{request}}, '0123456789abcdef', {{key}}, 'key:' || {{key}}, '{MODEL}', 'openai', 'openai', '{MODEL}',
        '{{ref}}', '{{rate}}', {HELD_NANO}, {HELD_NANO}, 0, 100, {{false}}, 300, 1, 1, 'settled', 1, 1, 1
    FROM {{rows}}
"""
_USAGE = f"""
    INSERT INTO usage (request_id, slot, attempt, key_id, model, provider, pool, outcome, known, bill_final, cost_final,
        input, cached, cache_write, cache_write_1h, input_audio, output, reasoning, output_audio, uplifts, list_nano,
        billed_nano, uncollected_nano, cost_nano, tries, queued_ms, first_byte_ms, duration_ms, finished_ms, created_ms)
    SELECT {{request}}, 0, 1, {{key}}, '{MODEL}', 'openai', 'openai', 'ok', 'reported', {{true}}, {{true}},
        100, 0, 0, 0, 0, 50, 0, 0, '[]', {{listed}}, {{billed}}, 0, {{listed}}, '{TRIES}', 1, 2, 3, 4, {{at}}
    FROM {{rows}}
"""
CALLS = (_HOLDS, _USAGE)
_JOURNAL = (
    _TRANSFERS + "{request}, 'charge', 1, 0, 'key:' || {key}, 'revenue', {billed}, {at} FROM {rows}",
    _TRANSFERS
    + "{request}, 'cost', 1, 0, 'upstream:openai:main', 'cost_of_goods', {listed}, {at} FROM {rows}",
)


async def fill(
    store: Store,
    calls: int,
    keys: int,
    span_ms: int = 0,
    each: Sequence[str] = (*CALLS, *_JOURNAL),
    *,
    organizations: int = 1,
    begin_ms: int = BEGIN_MS,
) -> None:
    """Keys with a balance, and calls that have ended, each with its hold, bill and two transfers: the audit passes.

    The calls are spread over a time; by default ten come in a millisecond. With CALLS as `each` there is no journal.
    The keys are `filled`'s, or in turn those of `filled0`, `filled1` and so on.
    """
    at = f"{begin_ms} + CAST(i AS bigint) * {span_ms // calls}" if span_ms else f"{begin_ms} + i / 10"
    model = next(one for one in BUILTIN if one.id == MODEL)
    ref = price_ref(model.prices[0])
    billed, listed = Catalogue(BUILTIN).charges(ref, USAGE, model.rate, ())
    false, true = ("0", "1") if store.dialect == "sqlite" else ("false", "true")
    words = {
        "key": f"'k' || (i % {keys})",
        "request": _ID[store.dialect].format(at=at),
        "organization": f"'filled' || (i % {organizations})" if organizations > 1 else "'filled'",
        "at": at,
        "deposit": f"{KEY_NANO} + {billed} * (({calls} - 1 - i) / {keys} + 1)",
        "ref": ref,
        "rate": model.rate,
        "billed": billed,
        "listed": listed,
        "false": false,
        "true": true,
    }
    async with store.write() as tx:
        rows = _NUMBERS[store.dialect].format(first=0, last=organizations - 1)
        await tx.execute(_PROFILES.format(rows=rows, **words))
    for statements, count in ((_KEYS, keys), (each, calls)):
        for first in range(0, count, PART):
            rows = _NUMBERS[store.dialect].format(first=first, last=min(first + PART, count) - 1)
            async with store.write() as tx:
                if store.dialect == "postgresql":
                    await tx.execute("SET LOCAL statement_timeout = 0")
                for sql in statements:
                    await tx.execute(sql.format(rows=rows, **words), timeout_s=PART_S)
    async with store.write() as tx:
        for account, nano in (
            ("deposits", -(keys * KEY_NANO + calls * billed)),
            ("revenue", calls * billed),
            ("upstream:openai:main", -calls * listed),
            ("cost_of_goods", calls * listed),
        ):
            kind = "upstream" if account.startswith("upstream") else "system"
            await tx.execute(
                f"INSERT INTO accounts (id, kind, posted_nano, held_nano) VALUES ('{account}', '{kind}', {nano}, 0)"
            )


async def roll_up(store: Store) -> None:
    """Sums all calls into the roll-ups, as the errand does, in parts as large as those of the filling."""
    ((newest,),) = await store.fetch("SELECT COALESCE(MAX(seq), 0) FROM usage")
    for first in range(0, int(newest), PART):
        async with store.write() as tx:
            if store.dialect == "postgresql":
                await tx.execute("SET LOCAL statement_timeout = 0")
            for rollup in ROLLUPS:
                part = f"u.seq > {first} AND u.seq <= {first + PART}"
                await tx.execute(rollup.added("u.created_ms", part), timeout_s=PART_S)
            await tx.execute("UPDATE rollups SET seq = $1 WHERE id = 'usage'", min(first + PART, int(newest)))


async def analyse(store: Store) -> None:
    """Tells PostgreSQL what its tables have, as a server finds out by itself."""
    if store.dialect == "postgresql":
        async with store.write() as tx:
            await tx.execute("SET LOCAL statement_timeout = 0")
            await tx.execute("ANALYZE", timeout_s=PART_S)


async def main(url: str, calls: int, keys: int) -> None:
    """Makes the tables and fills them."""
    store = await open_store(url)
    began = time.perf_counter()
    await fill(store, calls, keys)
    sys.stdout.write(f"filled in {time.perf_counter() - began:.0f} s\n")
    await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--keys", type=int, default=100_000)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.url, arguments.calls, arguments.keys))
