"""Owns the comparison of two trees: CPU of a request in each, by runs in turn, so that a noisy machine harms both alike.

`python -m tests.bench.pairs TREE [--pairs 20] [--seconds 10] [--stream]` compares another checkout, with its own
`.venv`, to this one. Both deployments are up at once and the load goes to one and the other, by slices of a run:
A B B A. It prints the median ratio of this tree's CPU to the other's, and the interval that holds it with 95 % by order
statistics.

An upstream at 127.0.0.1 is any compatible server. `--host api.openai.com`, once that name leads to this machine in
its table of hosts, measures the path of OpenAI's own.
"""

import argparse
import math
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Protocol

from tests.bench.requests import CHILDREN, WARM_UP, canned, cpu_s, load, say
from tests.fakes.tokn import ROOT, StartedTokn, Tokn, run, wait_for
from tests.fakes.upstream import SCRIPTED, pool_toml

CONFIDENCE = 0.95
APPLIED_S = 30.0
OPEN_SQL = "SELECT COUNT(*) FROM holds WHERE state IN ('open', 'estimated')"
SLICES = 8  # of each run: what a neighbour on the machine takes for a second or two then falls on both sides


class TreeTokn(StartedTokn):
    """A deployment of another tree. Its commands are that tree's, and an older `tokn up` has no console to leave out."""

    def start(self) -> None:
        """As ever, with the options that its tree knows."""
        self.console = "--no-console" not in self.run("up", "--help").stdout
        super().start()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Its own tree's command."""
        folder = self.data.parent  # the working folder's modules would come before its own
        return run(*arguments, program=self.program, folder=folder, TOKN_DATA=str(self.data), **self.env)


class Side:
    """One tree's deployment, with a key that pays."""

    def __init__(self, tree: Path, folder: Path, base_url: str) -> None:
        kind = type("OfTree", (TreeTokn,), {"program": (str(tree / ".venv/bin/python"), "-m", "tokn")})
        plain = pool_toml(base_url).replace(SCRIPTED, "")  # older trees do not know it, and no call needs it
        self.tokn: Tokn = kind(folder, plain, PYTHONPATH=str(tree))
        self.key = self.tokn.row("key", "create", "--name", "bench", "--balance", "100000")

    def run(self, count: int, *, stream: bool) -> tuple[Counter[str], float]:
        """CPU seconds of requests by process, bills applied; and requests a second."""
        before = cpu_s(self.tokn)
        figures = load(self.tokn, self.key["key"], stream=stream, count=count)
        wait_for(lambda: self.tokn.read(OPEN_SQL)[0][0] == 0, APPLIED_S, "all calls are billed")
        used = cpu_s(self.tokn)
        used.subtract(before)
        return used, figures["per_s"]


def interval(ratios: list[float]) -> tuple[float, float]:
    """The order statistics between which the median lies with at least CONFIDENCE."""
    ordered, n = sorted(ratios), len(ratios)
    outside = 0.0
    rank = 0
    while rank < n // 2:
        outside += 2 * math.comb(n, rank) / 2**n
        if outside > 1 - CONFIDENCE:
            break
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[n - 1 - rank]


class Comparable(Protocol):
    """One of the two."""

    def run(self, count: int, *, stream: bool) -> tuple[Counter[str], float]:
        """CPU seconds of requests by process, bills applied; and requests a second."""
        ...


def compare(other: Comparable, own: Comparable, *, pairs: int, seconds: float, stream: bool) -> list[float]:
    """The ratio of each pair, own to other."""
    for side in (other, own):
        side.run(WARM_UP, stream=stream)
    _, per_s = other.run(WARM_UP, stream=stream)
    count = max(int(per_s * seconds / SLICES), WARM_UP)
    ratios = []
    totals: dict[Comparable, Counter[str]] = {other: Counter(), own: Counter()}
    for turn in range(pairs):
        used: dict[Comparable, Counter[str]] = {other: Counter(), own: Counter()}
        for part in range(turn, turn + SLICES):
            for side in (other, own) if part % 2 == 0 else (own, other):
                used[side].update(side.run(count, stream=stream)[0])
        ratios.append(used[own].total() / used[other].total())
        for side, by_process in used.items():
            totals[side].update(by_process)
            name = "own  " if side is own else "other"
            parts = ", ".join(
                f"{process} {by_process[process] * 1_000 / count / SLICES:.3f}" for process in CHILDREN
            )
            say(f"{turn + 1:3} {name} {by_process.total() * 1_000 / count / SLICES:.3f} ms: {parts}")
        say(f"    ratio {ratios[-1]:.3f}")
    for process in CHILDREN:
        say(f"{process}: own to other {totals[own][process] / totals[other][process]:.3f}")
    return ratios


def main() -> None:
    """Compares, and prints what came out."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("tree", type=Path, help="the other checkout, with a .venv")
    options.add_argument("--pairs", type=int, default=20)
    options.add_argument("--seconds", type=float, default=10.0, help="of load in each run")
    options.add_argument(
        "--host", default="127.0.0.1", help="what the upstream is called; it must lead to this machine"
    )
    options.add_argument("--stream", action="store_true", help="streams of 50 in place of plain calls")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    upstream, address = canned(0.0)
    base_url = address.replace("127.0.0.1", chosen.host)
    try:
        with tempfile.TemporaryDirectory() as folder:
            other = Side(chosen.tree.resolve(), Path(folder, "other"), base_url)
            try:
                own = Side(ROOT, Path(folder, "own"), base_url)
                try:
                    ratios = compare(
                        other, own, pairs=chosen.pairs, seconds=chosen.seconds, stream=chosen.stream
                    )
                finally:
                    own.tokn.stop()
            finally:
                other.tokn.stop()
    finally:
        upstream.terminate()
        upstream.communicate()
    low, high = interval(ratios)
    say(f"median {statistics.median(ratios):.4f}, 95 % within {low:.4f} to {high:.4f}, {len(ratios)} pairs")


if __name__ == "__main__":
    main()
