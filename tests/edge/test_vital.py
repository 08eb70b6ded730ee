import asyncio

import pytest


async def ended(rig) -> None:
    """Waits for the edge's own end, and raises what ended it."""
    running, rig.running = rig.running, asyncio.ensure_future(asyncio.sleep(0))
    await asyncio.wait_for(running, 60)


async def test_an_edge_ends_with_its_ticks(rig, monkeypatch):
    """Without ticks no deadline would hold: what ends them ends the edge."""

    def fail(_now):
        raise ValueError("broken")

    monkeypatch.setattr(rig.edge.relay, "tick", fail)
    with pytest.raises(ValueError, match="broken"):
        await ended(rig)


async def test_an_edge_ends_with_its_server(rig):
    """An edge whose HTTP server has ended without being told to is none: it ends with an error."""
    rig.edge.server.leave()
    with pytest.raises(RuntimeError, match="ended by itself"):
        await ended(rig)
