"""Pages of calls: the newest first, whole and once, wherever in the table a key's calls lie."""

import random

import pytest

from ledger.rules.rows import USAGE_BLOCK
from ledger.verbs.usage import usage
from schemas.money.pricing import TokenUsage
from schemas.verbs.usage import UsageQuery
from tests.ledger.harness import Books, event

CALLS = 40


async def pages(books: Books, key_id: str, limit: int) -> list[str]:
    """All request ids of a key, page by page."""
    found, before = [], 0
    while True:
        page = await usage(books.store, UsageQuery(1, key_id, limit, before))
        found += [row["request_id"] for row in page.rows]
        if not page.cursor:
            return found
        assert len(page.rows) == limit
        before = page.cursor


async def scatter(books: Books, seed: int) -> None:
    """Gives all calls new places: in a few neighbouring blocks, at their edges, and far away."""
    chance = random.Random(seed)
    edges = {block * USAGE_BLOCK + at for block in (1, 2, 300, 3_000) for at in (-1, 0, 1)}
    others = [place for place in range(CALLS + 1, 20 * USAGE_BLOCK) if place not in edges]
    places = sorted([*edges, *chance.sample(others, CALLS - len(edges))])
    rows = await books.store.fetch("SELECT seq FROM usage ORDER BY seq DESC")
    async with books.store.write() as tx:
        for row, place in zip(rows, reversed(places), strict=True):
            await tx.execute("UPDATE usage SET seq = $1 WHERE seq = $2", place, row[0])


@pytest.mark.parametrize("seed", range(3))
async def test_pages_of_a_key_are_whole(books: Books, seed: int) -> None:
    """Any page size gives each call of the key once, newest first, whatever else lies between; costs are not calls."""
    first, second = await books.key("alice"), await books.key("bob")
    ids = [f"r{number:02}" for number in range(CALLS)]
    for number, name in enumerate(ids):
        await books.hold(name, "alice" if number % 3 else "bob")
        await books.settle(event(name, TokenUsage(input=5, output=2)))
    await scatter(books, seed)
    async with books.store.write() as tx:
        await tx.execute("UPDATE usage SET slot = 1 WHERE request_id = 'r07'")
    for key_id, expected in (
        (first, [name for number, name in enumerate(ids) if number % 3 and name != "r07"]),
        (second, [name for number, name in enumerate(ids) if number % 3 == 0]),
        ("", [name for name in ids if name != "r07"]),
    ):
        for limit in (1, 2, 7, 1_000):
            assert await pages(books, key_id, limit) == expected[::-1]
