"""Starts a `tokn` service in which a kill -9 strikes at one exact place, whenever a file with that place's name appears.

python -m tests.fakes.crashing FOLDER edge|worker|ledger …

The file says whom to kill: a process id, or nothing for the service itself. It strikes once, and the file is gone.
"""

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import structs

from edge import app as edge_app

NEVER_S = 3600.0
RESTART_S = 60.0
BEFORE, AFTER = "before", "after"
POINTS = {
    "edge": {
        "edge-asks": ("edge.admission.admission:Admission._admit", BEFORE),
        "edge-offers": ("edge.calls.call:Call.offer", BEFORE),
        "edge-hears-accept": ("edge.calls.call:Call._accepted", BEFORE),
        "edge-hears-data": ("edge.calls.attempt:Attempt._append", BEFORE),
        "edge-completes": ("edge.calls.attempt:Attempt._complete", BEFORE),
        "edge-goes-on": ("edge.calls.call:Call._ask", BEFORE),
        "edge-may-go-on": ("edge.calls.call:Call.on_reattempt", BEFORE),
    },
    "worker": {
        "worker-gets-job": ("workers.pool:Pool.on_job", BEFORE),
        "worker-calls": ("workers.calls.call:Call._serve", BEFORE),
        "worker-passes": ("workers.calls.frames:FrameWriter.failed", BEFORE),
        "worker-bills": ("workers.calls.usage_events:UsagePublisher.submit", BEFORE),
        "worker-publishes": ("runtime.bus.bus:Bus.js_publish", BEFORE),
        "worker-published": ("runtime.bus.bus:Bus.js_publish", AFTER),
    },
    "ledger": {
        "ledger-authorises": ("ledger.commits.commit:Committer._commit", BEFORE),
        "ledger-authorised": ("ledger.commits.commit:Committer._commit", AFTER),
        "ledger-goes-on": ("ledger.rules.holds:reattempt", BEFORE),
        "ledger-gets-event": ("ledger.stream.consumer:_delivery", BEFORE),
        "ledger-saves": ("ledger.commits.load_save:save_position", AFTER),
        "ledger-acknowledges": ("ledger.stream.consumer:Consumer._done", BEFORE),
    },
}


def strike(file: Path) -> None:
    """Kill -9, if the file is there."""
    if file.exists():
        whom = int(file.read_text() or os.getpid())
        file.unlink()
        os.kill(whom, signal.SIGKILL)


def arm(place: str, when: str, file: Path) -> None:
    """Puts the strike before or after a function or method."""
    module, _, path = place.partition(":")
    owner_name, _, name = path.rpartition(".")
    owner: Any = importlib.import_module(module)
    if owner_name:
        owner = getattr(owner, owner_name)
    setattr(owner, name, struck(getattr(owner, name), when, file))


def struck(real: Callable[..., Any], when: str, file: Path) -> Callable[..., Any]:
    """A function with the strike in it; after a function it must be a coroutine function."""
    if when == BEFORE:

        @functools.wraps(real)
        def before(*positional: Any, **named: Any) -> Any:
            strike(file)
            return real(*positional, **named)

        return before

    @functools.wraps(real)
    async def after(*positional: Any, **named: Any) -> Any:
        result = await real(*positional, **named)
        strike(file)
        return result

    return after


def main() -> int:
    """Arms the service's places, then runs the command as ever."""
    folder, service = Path(sys.argv[1]), sys.argv[2]
    for name, (place, when) in POINTS[service].items():
        arm(place, when, folder / name)
    # A busy machine may take longer to start a worker again than an edge takes to call a pool deserted, and longer to
    # start a ledger again than an edge waits for one. The edge's module has the limits by now: a fork has read it all.
    edge_app.LIMITS = structs.replace(edge_app.LIMITS, settled_s=NEVER_S, ledger_s=RESTART_S)
    sys.argv[1:] = sys.argv[2:]
    from tokn.__main__ import main as tokn  # noqa: PLC0415  only now, with every place armed

    return tokn()


if __name__ == "__main__":
    sys.exit(main())
