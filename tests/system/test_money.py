"""Owns exact money over the whole path in all dialects: a thousand calls to the nano-dollar, and the race for the last one."""

import asyncio
import random
import threading
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Self

import pytest

from tests.fakes.books import balance, lowest_available_nano, opened
from tests.fakes.caller import call, session, until
from tests.fakes.spoken import COMPLETIONS, EMBEDDINGS, MESSAGES
from tests.fakes.tokn import Tokn
from tests.fakes.ways import WAYS, Way, racers_of, ways_toml

pytestmark = pytest.mark.system

# A rate at which a call's exact price is seldom a whole number of nano-dollars.
RATE = Decimal("0.6137")
CALLS = 1_000
CALLERS = 32
RACERS, AFFORDED = 200, 10


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """`tokn up` with room for the whole race at once."""
    config = ways_toml(upstream.base_url, rate=str(RATE))
    with Tokn(tmp_path_factory.mktemp("money") / "data", config) as running:
        yield running


def by_hand(prompt: int, cached: int, completion: int) -> int:
    """Nano-dollars of one call at 2.50 in, 1.25 cached and 10.00 out per million tokens."""
    usd_per_million = (
        (prompt - cached) * Decimal("2.50") + cached * Decimal("1.25") + completion * Decimal("10.00")
    )
    return int((usd_per_million * 1_000 * RATE).quantize(Decimal(1), ROUND_HALF_EVEN))


async def test_a_thousand_calls_to_the_nano_dollar(tokn, upstream):
    """1,000 calls of mixed sizes in all dialects cost exactly the sum computed by hand; the audit passes and no hold is open."""
    dice = random.Random(20261122)
    key = tokn.row("key", "create", "--name", "thousand", "--balance", "1000")
    requests: list[tuple[Way, dict[str, Any]]] = []
    expected = 0
    for index in range(CALLS):
        prompt = dice.choice([1, 7, 300, 5_000, 40_000])
        cached = dice.randint(0, prompt)
        completion = dice.choice([1, 3, 99, 4_097])
        way = WAYS[index % len(WAYS)]
        # Messages need a limit, and a legacy completion without one is granted 16 tokens.
        needed = 16_000 if way.dialect in (MESSAGES, COMPLETIONS) else None
        limit = completion if dice.random() < 0.3 else needed
        request = way.ask(
            f"c{index}",
            limit=limit,
            stream=dice.random() < 0.5,
            text="x" * (prompt + 16),
            prompt=prompt,
            cached=cached,
            completion=completion,
            reasoning=dice.randint(0, completion),
            words=dice.randint(0, 20),
        )
        requests.append((way, request))
        vectors = way.dialect == EMBEDDINGS
        expected += by_hand(prompt, 0, 0) if vectors else by_hand(prompt, cached, completion)

    async def caller(client):
        while requests:
            way, request = requests.pop()
            seen = await call(client, tokn.url, key["key"], request, path=way.path)
            assert seen.complete, seen

    async with session() as client:
        await asyncio.gather(*(caller(client) for _ in range(CALLERS)))
    left = tokn.settled(key["id"])
    assert 1_000_000_000_000 - left["posted_nano"] == expected
    audit = tokn.audit()
    assert audit["ok"] is True, audit["findings"]
    assert audit["open_holds"] == 0
    rows = tokn.rows("usage", "--key", key["id"], "--limit", str(CALLS + 1))
    assert len(rows) == len({row["request_id"] for row in rows}) == CALLS
    assert sum(row["billed_nano"] for row in rows) == expected
    assert {row["known"] for row in rows} == {"reported"}


class Watch:
    """Reads the ledger's own file all the time, and remembers the lowest available amount of any commit it saw."""

    def __init__(self, tokn: Tokn) -> None:
        self.lowest_nano = 0
        self.reads = 0
        self._data = tokn.data
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with opened(self._data) as books:
            while not self._stop.wait(0.002):
                self.lowest_nano = min(self.lowest_nano, lowest_available_nano(books))
                self.reads += 1


@pytest.mark.parametrize("rounds", [4, pytest.param(500, marks=pytest.mark.long)])
async def test_money_for_ten_admits_exactly_ten(tokn, upstream, rounds):
    """Of 200 calls at once on money for the holds of 10, exactly 10 pass, and available is never below zero."""
    charge_nano = by_hand(1, 0, 1)
    async with session() as client:
        probe = tokn.row("key", "create", "--name", "probe", "--balance", "10")
        (first,) = racers_of(1, client, tokn.url, probe["key"])
        await until(lambda: upstream.waiting == 1, 20, "the probe waits at the gate")
        hold_nano = (await asyncio.to_thread(tokn.balance, probe["id"]))["held_nano"]
        upstream.open_gate()
        assert (await first).complete
        # All that the rounds spend is on top, and less than one hold: each round finds money for exactly ten.
        spent_nano = rounds * AFFORDED * charge_nano
        assert spent_nano < hold_nano
        usd = Decimal(hold_nano * AFFORDED + spent_nano) / 1_000_000_000
        key = await asyncio.to_thread(tokn.row, "key", "create", "--name", "race", "--balance", f"{usd:f}")
        with Watch(tokn) as watch, opened(tokn.data) as books:
            for round_number in range(rounds):
                before = len(upstream.calls)
                racers = racers_of(RACERS, client, tokn.url, key["key"])
                await until(
                    lambda racers=racers: sum(racer.done() for racer in racers) >= RACERS - AFFORDED,
                    30,
                    "all but ten are decided",
                )
                await until(lambda: upstream.waiting == AFFORDED, 20, "ten wait at the gate")
                assert balance(books, key["id"])[1] == hold_nano * AFFORDED
                upstream.open_gate()
                seen = await asyncio.gather(*racers)
                statuses = sorted(one.status for one in seen)
                assert statuses == [200] * AFFORDED + [402] * (RACERS - AFFORDED), f"round {round_number}"
                assert len(upstream.calls) - before == AFFORDED
                # Each dialect has its own word for it.
                refused = [one.error.get("code") or one.error["type"] for one in seen if one.status == 402]
                assert set(refused) == {"insufficient_balance", "billing_error"}
                await until(lambda: balance(books, key["id"])[1] == 0, 20, "the round is settled")
    assert watch.reads > rounds
    assert watch.lowest_nano >= 0
    assert tokn.balance(key["id"])["posted_nano"] == hold_nano * AFFORDED
    assert tokn.audit()["ok"] is True
