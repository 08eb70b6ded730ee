"""Sums of usage by whatever is asked for: they equal the calls, rolled up or not, on both databases."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.commits.rolling import Rolling
from ledger.rules.rollup_rows import SUMS as FIGURES
from ledger.verbs import sums as verb
from ledger.verbs import sums_by_key
from ledger.verbs.sums import SUMS
from schemas.money.pricing import TokenUsage
from schemas.verbs.base import Rows
from schemas.verbs.sums import PARTS, PERIODS, SumsQuery
from tests.ledger.harness import USD, Books, billed, event

SMALL = TokenUsage(input=60, output=40)
DAY_S = 86_400
CALLS = 6
PAGES_MAX = 200
MODELS = ("gpt-4o", "gpt-4o-mini")
ROLLED = 30  # calls; those behind it are read as they are
BY_KEY = [
    by
    for period in ((), *((one,) for one in PERIODS))
    for by in ((*period, "key"), ("model", *period, "key"), (*period, "key", "organization", "pool"))
]


async def _ask(books: Books, **fields: Any) -> list[dict[str, Any]]:
    return [row for page in await _pages(books, **fields) for row in page.rows]


async def _pages(books: Books, **fields: Any) -> list[Rows]:
    """Page by page, to the end."""
    services: Any = SimpleNamespace(store=books.store)
    pages = [await SUMS.answer(services, SumsQuery(1, **fields))]
    while pages[-1].cursor:
        pages.append(await SUMS.answer(services, SumsQuery(1, **fields, after=pages[-1].cursor)))
        assert len(pages) < PAGES_MAX
    assert not any(page.problem for page in pages), pages[-1]
    return pages


async def _used(books: Books) -> tuple[str, int]:
    """Six calls of three keys, one a day, half of them rolled up; a key's id, and the first day's begin."""
    ids = [await books.key(f"key{number}", 50 * USD, profile=f"org{number % 2}") for number in range(3)]
    books.clock.ms -= books.clock.ms % (DAY_S * 1000)
    begin_s = books.clock.ms // 1000
    books.start()
    rolling = Rolling(books.writer)
    for number in range(CALLS):
        await books.hold(f"r{number}", f"key{number % 3}")
        await books.settle(event(f"r{number}", SMALL))
        if number < CALLS // 2:
            for _ in range(3):
                await rolling.step()
        books.clock.turn(DAY_S)
    return ids[0], begin_s


async def test_every_question_sums_to_the_same(books: Books) -> None:
    """Whatever sums are by, and whatever table answers, they have every call once."""
    key_id, begin_s = await _used(books)
    parts = [subset for size in range(4) for subset in itertools.combinations(PARTS, size)]
    for period in ("", *PERIODS):
        for subset in parts:
            rows = await _ask(books, by=(*([period] if period else []), *subset))
            assert sum(row["calls"] for row in rows) == CALLS
            assert sum(row["billed_nano"] for row in rows) == CALLS * billed(SMALL)
            assert sum(row["output_tokens"] for row in rows) == CALLS * 40
    for by in ((), ("day",), ("hour",), ("month", "model")):
        rows = await _ask(books, by=by, key_id=key_id)
        assert sum(row["calls"] for row in rows) == 2
        rows = await _ask(books, by=by, organization="org1")
        assert sum(row["calls"] for row in rows) == 2
        rows = await _ask(books, by=by, since_s=begin_s + DAY_S, until_s=begin_s + 4 * DAY_S)
        assert sum(row["calls"] for row in rows) == 3
        rows = await _ask(books, by=by, key_id=key_id, since_s=begin_s + DAY_S)
        assert sum(row["calls"] for row in rows) == 1
    assert await _ask(books, by=("day",), model="another") == []


async def test_pages_and_names(books: Books) -> None:
    """Pages follow one another in order, and periods read as people write them."""
    await _used(books)
    services: Any = SimpleNamespace(store=books.store)
    first = await SUMS.answer(services, SumsQuery(1, by=("day", "key"), limit=4))
    second = await SUMS.answer(services, SumsQuery(1, by=("day", "key"), limit=4, after=first.cursor))
    assert (len(first.rows), len(second.rows), second.cursor) == (4, 2, 0)
    days = [row["day"] for row in (*first.rows, *second.rows)]
    assert days == sorted(days)
    assert len(days[0]) == len("2026-11-25")
    (month, *_) = await _ask(books, by=("month",))
    assert month["month"] == days[0][:7]
    (hour, *_) = await _ask(books, by=("hour",))
    assert hour["hour"] == f"{days[0]}T00:00:00Z"


async def _varied(books: Books) -> None:
    """Forty calls of six keys of three organisations with two models, over four days; some are not rolled up yet."""
    for number in range(6):
        await books.key(f"key{number}", 50 * USD, profile=f"org{number % 3}")
    books.start()
    rolling = Rolling(books.writer)
    for number in range(40):
        await books.hold(f"r{number:02}", f"key{number * 5 % 6}", model=MODELS[number % 5 % 2])
        await books.settle(event(f"r{number:02}", TokenUsage(input=10 + number, output=number % 7)))
        books.clock.turn(DAY_S / 10)
        if number == ROLLED:
            for _ in range(3):
                await rolling.step()


async def test_pages_have_each_sum_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small its pages are, what is by key or organisation is the same rows in the same order, and none twice."""
    monkeypatch.setattr(verb, "PART_DAYS", 1)
    await _varied(books)
    since_s = books.clock.ms // 1000 - 3 * DAY_S
    filters: list[dict[str, Any]] = [
        {},
        {"since_s": since_s - since_s % DAY_S},
        {"since_s": since_s, "until_s": since_s + 2 * DAY_S},
        {"organization": "org1"},
        {"model": MODELS[1]},
    ]
    of_days = itertools.product([("day", "organization"), ("hour", "organization", "model")], filters[1:3])
    for by, asked in (*zip(BY_KEY, itertools.cycle(filters)), *of_days):
        small, large = [await _pages(books, by=by, limit=limit, **asked) for limit in (3, 200)]
        rows = [row for page in small for row in page.rows]
        assert rows == [row for page in large for row in page.rows]
        assert all(len(page.rows) <= 3 for page in small)
        groups = [tuple(row[name] for name in by) for row in rows]
        assert len(set(groups)) == len(groups) > 0
        assert _added(rows) == _added(await _ask(books, **asked))


@pytest.mark.parametrize("largest", [False, True])
async def test_a_page_and_its_rest_are_the_whole(books: Books, largest: bool) -> None:
    """To the nano-dollar: the rows of any page of sums, with what it leaves out, are the sums of everything."""
    await _varied(books)
    filters: list[dict[str, Any]] = [{}, {"organization": "org2"}, {"model": MODELS[0]}]
    for asked, by in itertools.product(filters, [*BY_KEY[:2], ("day",), ()]):
        (whole,) = await _ask(books, **asked)
        for page in await _pages(books, by=by, limit=5, rest=True, largest=largest, **asked):
            assert page.rest is not None
            assert _added([*page.rows, page.rest]) == whole
    (page, *_) = await _pages(books, by=("key",), limit=5, organization="org1", rest=True, largest=largest)
    assert page.cursor == 0
    assert not any(page.rest.values()) if page.rest else False


async def test_the_largest_come_first(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where few rows make the sums of keys, those begin with what was billed most; of too many, with the first key."""
    await _varied(books)
    pages = await _pages(books, by=("key",), limit=3, largest=True)
    nanos = [row["billed_nano"] for page in pages for row in page.rows]
    assert nanos == sorted(nanos, reverse=True)
    assert len(set(nanos)) > 1
    assert isinstance(pages[0].cursor, int)
    monkeypatch.setattr(sums_by_key, "RANKED_ROWS_MAX", 2)
    walked = await _pages(books, by=("key",), limit=3, largest=True)
    assert isinstance(walked[0].cursor, str)
    assert [page.rows for page in walked] == [page.rows for page in await _pages(books, by=("key",), limit=3)]


@pytest.mark.parametrize("after", ["x", "1:2", "a:0:k", 7])
async def test_a_page_that_begins_nowhere(books: Books, after: int | str) -> None:
    """A cursor that nobody was given is refused in one sentence."""
    services: Any = SimpleNamespace(store=books.store)
    reply = await SUMS.answer(services, SumsQuery(1, by=("key",), after=after))
    assert "starting_after" in reply.problem


def _added(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The sum of rows, figure by figure."""
    return {name: sum(row[name] for row in rows) for name in FIGURES}


@pytest.mark.parametrize("by", [("year",), ("day", "hour"), ("key", "key")])
async def test_what_cannot_be_summed(books: Books, by: tuple[str, ...]) -> None:
    """An unknown word, two periods, or the same twice is refused in one sentence."""
    services: Any = SimpleNamespace(store=books.store)
    assert (await SUMS.answer(services, SumsQuery(1, by=by))).problem
