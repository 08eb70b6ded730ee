"""Owns the refusals and the failovers that need a whole deployment: who may call, full pools, a second account."""

import asyncio
import signal
import time
from typing import Any

import pytest

from tests.fakes.caller import Seen, body, call, session, until
from tests.fakes.tokn import Tokn, wait_for
from tests.fakes.upstream import pool_of_one, pool_toml

pytestmark = pytest.mark.system

SMALL = 4  # calls at once that the pool "small" takes
SECOND = """
[[pools.pair.accounts]]
id = "second"
api_key = "sk-refused-0123456789"
base_url = "{base_url}"
"""


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """A deployment with a pool of four places, and a pool whose other account is refused by its upstream."""
    small = pool_of_one("small", upstream.base_url).replace(
        "[[models]]", f"max_inflight = {SMALL}\n[[models]]"
    )
    pair = pool_of_one("pair", upstream.base_url).replace(
        "[[models]]", SECOND.format(base_url=upstream.base_url) + "[[models]]"
    )
    config = pool_toml(upstream.base_url) + small + pair
    with Tokn(tmp_path_factory.mktemp("refusals") / "data", config) as running:
        yield running


async def test_keys_that_may_not(tokn):
    """A key without the provider gets 403, a revoked one 401, and neither costs or reaches anything."""
    key = await asyncio.to_thread(
        tokn.row, "key", "create", "--name", "narrow", "--balance", "5", "--providers", "anthropic"
    )
    async with session() as client:
        denied = await call(client, tokn.url, key["key"], body("denied"))
        assert (denied.status, denied.error["code"]) == (403, "model_not_allowed")
        await asyncio.to_thread(tokn.row, "key", "revoke", key["id"])
        revoked = await call(client, tokn.url, key["key"], body("revoked"))
        assert (revoked.status, revoked.error["code"]) == (401, "invalid_api_key")
    assert tokn.balance(key["id"])["posted_nano"] == 5_000_000_000


async def test_a_full_pool(tokn, upstream):
    """A pool with four places serves four, the others wait a moment and get 429 with Retry-After; then it has room."""
    request = body("small", stream=False, gate=True) | {"model": "small", "max_completion_tokens": 10}
    async with session() as client:
        busy = [asyncio.create_task(call(client, tokn.url, tokn.key, request)) for _ in range(SMALL)]
        await until(lambda: upstream.waiting == SMALL, 20, "the pool is full")
        begun = time.monotonic()
        refused = await asyncio.gather(*(call(client, tokn.url, tokn.key, request) for _ in range(8)))
        assert {seen.status for seen in refused} == {429}, refused
        assert {seen.error["code"] for seen in refused} == {"rate_limit_exceeded"}
        assert time.monotonic() - begun < 10
        assert upstream.waiting == SMALL
        upstream.open_gate()
        assert all(seen.complete for seen in await asyncio.gather(*busy))
        after = asyncio.create_task(call(client, tokn.url, tokn.key, request))
        await until(lambda: upstream.waiting == 1, 20, "the pool has room again")
        upstream.open_gate()
        assert (await after).complete


async def test_the_next_account(tokn):
    """Calls go on when one of two accounts is refused by its upstream; callers notice nothing."""
    async with session() as client:
        calls = (
            call(client, tokn.url, tokn.key, body(f"pair-{index}") | {"model": "pair"}) for index in range(8)
        )
        for seen in await asyncio.gather(*calls):
            assert seen.complete, seen

    def states() -> dict[str, str]:
        (pair,) = [pool for pool in tokn.rows("pools") if pool["name"] == "pair"]
        return {account["id"]: account["state"] for account in pair["accounts"]}

    refused = {"main": "ok", "second": "refused"}
    await asyncio.to_thread(wait_for, lambda: states() == refused, 5, "the refused account is shown")


async def test_a_frozen_ledger(tokn):
    """While the ledger is frozen calls in flight go on, and new ones get 503 after a bounded wait."""
    async with session() as client:
        seen = Seen("flight")
        request = body("flight", words=20, pace_s=0.2)
        flight = asyncio.create_task(call(client, tokn.url, tokn.key, request, seen=seen))
        await until(lambda: seen.words > 1, 10, "a stream runs")
        frozen = await asyncio.to_thread(tokn.kill, "ledger", signal.SIGSTOP)
        try:
            begun = time.monotonic()
            refused = await call(client, tokn.url, tokn.key, body("new"))
            assert refused.status == 503, refused
            assert time.monotonic() - begun < 8
            await until(lambda: seen.words == 20, 10, "all words of the stream in flight")
        finally:
            frozen.send_signal(signal.SIGCONT)
        assert (await flight).complete
    assert (await asyncio.to_thread(tokn.audit))["ok"] is True


async def test_a_stop_finishes_what_runs(tokn):
    """SIGTERM lets streams in flight end as if nothing were, bills them, and takes no new calls."""
    async with session() as client:
        streams = [Seen(f"last-{index}") for index in range(10)]
        tasks = [
            asyncio.create_task(
                call(client, tokn.url, tokn.key, body(seen.tag, words=20, pace_s=0.1), seen=seen)
            )
            for seen in streams
        ]
        await until(lambda: all(seen.words > 1 for seen in streams), 10, "all streams run")
        code, _ = await asyncio.to_thread(tokn.stop)
        await asyncio.gather(*tasks)
    assert code == 0
    assert all(seen.complete for seen in streams), streams
    assert not tokn.orphans()
    await asyncio.to_thread(tokn.start)
    ids = {seen.request_id for seen in streams}

    def bills() -> list[dict[str, Any]]:
        return [row for row in tokn.rows("usage", "--limit", "100") if row["request_id"] in ids]

    rows = await asyncio.to_thread(
        wait_for, lambda: len(bills()) == len(ids) and bills(), 10, "all are billed"
    )
    assert {(row["outcome"], row["completion_tokens"]) for row in rows} == {("ok", 20)}
