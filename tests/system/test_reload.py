"""Owns reloads of a running `tokn up`: what changes while calls run, and that nothing else does."""

import asyncio
import signal

import pytest

from tests.fakes import caller
from tests.fakes.tokn import CHILDREN, Tokn, wait_for
from tests.fakes.upstream import Upstream, pool_toml

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def upstream():
    """The provider of this module."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """One `tokn up` for the tests of this module."""
    with Tokn(tmp_path_factory.mktemp("reload") / "data", pool_toml(upstream.base_url)) as running:
        yield running


async def test_closed_terminal_ends_nothing(tokn, upstream):
    """SIGHUP to `tokn up` and to each child: all live on, new calls are served, and a stream in flight runs to its end."""
    before = {process.pid for process in tokn.tree()}
    async with caller.session() as client:
        stream = asyncio.create_task(
            caller.call(client, tokn.url, tokn.key, caller.body("held", words=9, gate=True))
        )
        await asyncio.to_thread(wait_for, lambda: upstream.waiting, 20, "a call at the gate")
        for name in ("up", *CHILDREN):
            tokn.kill(name, signal.SIGHUP)
        plain = await caller.call(client, tokn.url, tokn.key, caller.body("plain", stream=False))
        upstream.open_gate()
        seen = await stream
    assert plain.complete
    assert seen.complete
    assert seen.words == 9
    assert {process.pid for process in tokn.tree()} == before
