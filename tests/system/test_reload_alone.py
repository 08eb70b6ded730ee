"""Owns reloads of services that run alone: each reads its own file at a SIGHUP, and none ends by it."""

import asyncio
import os
import signal

import pytest

from tests.chaos.separate import Separate
from tests.fakes import caller
from tests.fakes.tokn import wait_for
from tests.fakes.upstream import Upstream, pool_of_one, pool_toml

pytestmark = pytest.mark.system

SERVICES = ("ledger0", "worker", "edge")
REFUSED = "not reloaded, nothing has changed"


def hang_up(running: Separate, text: str, said: str) -> None:
    """Another file, a SIGHUP to each service, and what each says of it."""
    running.configure(text)
    before = {name: running.said(name).count(said) for name in SERVICES}
    for name in SERVICES:
        os.kill(running.services[name].pid, signal.SIGHUP)
        wait_for(lambda name=name: running.said(name).count(said) > before[name], 30, f"{name}: {said}")


async def test_services_alone_reload_at_a_hangup():
    """Ledger, worker and edge take a price and the end of a pool from their files at SIGHUP; a stream in flight goes on.

    A file that is wrong changes nothing, and each says so. No service ends.
    """
    with Upstream() as upstream:
        text = pool_toml(upstream.base_url)
        both = text + pool_of_one("later", upstream.base_url)
        with Separate("sqlite", both, served=("openai", "later")) as running:
            pids = {name: running.services[name].pid for name in SERVICES}
            key = running.key()["key"]
            async with caller.session() as client:

                async def status(model: str) -> int:
                    request = caller.body("one", stream=False, words=1) | {"model": model}
                    return (await caller.call(client, running.url, key, request)).status

                held = asyncio.create_task(
                    caller.call(client, running.url, key, caller.body("held", words=9, gate=True))
                )
                await asyncio.to_thread(wait_for, lambda: upstream.waiting, 20, "a call at the gate")
                assert [await status("priced"), await status("later")] == [200, 200]
                await asyncio.to_thread(
                    hang_up, running, text.replace("input = 2.50", "input = 25"), "configuration reloaded"
                )
                assert [await status("priced"), await status("later")] == [200, 404]
                await asyncio.to_thread(hang_up, running, both + "\n[nonsense]\n", REFUSED)
                assert [await status("priced"), await status("later")] == [200, 404]
                await asyncio.to_thread(hang_up, running, both, "configuration reloaded")
                assert [await status("priced"), await status("later")] == [200, 200]
                upstream.open_gate()
                seen = await held
            assert seen.complete
            assert seen.words == 9
            assert {
                name: running.services[name].pid for name in SERVICES if running.services[name].alive()
            } == pids
            billed = [row["billed_nano"] for row in running.command("usage") if row["model"] == "priced"]
            assert sorted(billed) == [16_500, 16_500, 64_500, 111_000, 111_000]
            assert running.audit()["ok"]
