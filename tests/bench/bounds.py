"""Owns what caps and limits cost a call: keys with three caps and limits, and keys without, of one deployment, in turn.

`python -m tests.bench.bounds [--database postgresql] [--keys 100] [--pairs 20] [--seconds 10] [--stream]` puts the load
to one kind of keys and the other, by slices of a run: A B B A. Each bounded key has two caps, its organisation a third,
and the key limits of all three kinds. It prints the median ratio of a bounded call's CPU to a free one's, and the
interval that holds it with 95 %. The database's server does not count.
"""

import argparse
import signal
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.bench.pairs import APPLIED_S, OPEN_SQL, compare, interval
from tests.bench.requests import canned, cpu_s, load, say
from tests.fakes.postgres import PostgresServer
from tests.fakes.tokn import StartedTokn, Tokn, wait_for
from tests.fakes.upstream import pool_toml

PLENTY = str(10**8)  # of a limit: it never refuses
BOUNDS = (
    "--rpm",
    PLENTY,
    "--tpm",
    PLENTY,
    "--in-flight",
    PLENTY,
    "--cap",
    "day=100000",
    "--cap",
    "month=900000@UTC",
)


class Keys:
    """Keys of one organisation, bounded or free, that take turns in a load."""

    def __init__(self, tokn: Tokn, organization: str, count: int, *bounds: str) -> None:
        self._tokn = tokn
        made = ("key", "create", "--organization", organization, "--balance", "100000", *bounds)
        self._keys = [str(tokn.row(*made)["key"]) for _ in range(count)]

    def run(self, count: int, *, stream: bool) -> tuple[Counter[str], float]:
        """CPU seconds of requests by process, bills applied; and requests a second."""
        before = cpu_s(self._tokn)
        figures = load(self._tokn, self._keys, stream=stream, count=count)
        wait_for(lambda: self._tokn.read(OPEN_SQL)[0][0] == 0, APPLIED_S, "all calls are billed")
        used = cpu_s(self._tokn)
        used.subtract(before)
        return used, figures["per_s"]


def run(database_url: str, *, keys: int, pairs: int, seconds: float, stream: bool) -> list[float]:
    """The ratio of each pair, bounded to free, in a fresh deployment."""
    upstream, base_url = canned(0.0)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            StartedTokn(Path(folder, "data"), pool_toml(base_url), database_url=database_url) as tokn,
        ):
            free = Keys(tokn, "free", keys)
            bound = Keys(tokn, "bound", keys, *BOUNDS)
            tokn.row("cap", "create", "5000000", "--period", "month", "--organization", "bound")
            ratios = compare(free, bound, pairs=pairs, seconds=seconds, stream=stream)
            if not tokn.audit()["ok"]:
                raise RuntimeError("the books do not balance")
            return ratios
    finally:
        upstream.terminate()
        upstream.communicate()


def main() -> None:
    """Compares, and prints what came out: `own` are the bounded keys, `other` the free ones."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options.add_argument("--keys", type=int, default=1, help="of each kind")
    options.add_argument("--pairs", type=int, default=20)
    options.add_argument("--seconds", type=float, default=10.0, help="of load in each run")
    options.add_argument("--stream", action="store_true", help="streams of 50 in place of plain calls")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    more = {"keys": chosen.keys, "pairs": chosen.pairs, "seconds": chosen.seconds, "stream": chosen.stream}
    if chosen.database == "sqlite":
        ratios = run("", **more)
    else:
        with PostgresServer(durable=True) as server:
            ratios = run(server.url("postgres"), **more)
    low, high = interval(ratios)
    say(f"median {statistics.median(ratios):.4f}, 95 % within {low:.4f} to {high:.4f}, {len(ratios)} pairs")


if __name__ == "__main__":
    main()
