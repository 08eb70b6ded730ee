"""Owns the figure of merit: CPU per request over edge, worker, ledger and nats-server, with holds and durable bills.

`python -m tests.bench.requests [--count N] [--profile]` prints a table a process, and with `--profile` the five
functions where each spends the most. The load generator and the canned upstream are processes of their own and do
not count.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fakes.tokn import CHILDREN, ROOT, StartedTokn, Tokn, memory_bytes, process_name
from tests.fakes.upstream import pool_toml

CALLERS = 32
WARM_UP = 400
PROFILE_S = 10
TARGET_MS = {"plain": 1.8, "stream of 50": 3.6}


def canned(pace_s: float, provider: str = "openai") -> tuple[subprocess.Popen[str], str]:
    """A canned upstream that speaks as a provider does, and its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.canned", str(pace_s), provider],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    path = "/v1" if provider == "openai" else ""
    return process, f"http://127.0.0.1:{int(process.stdout.readline())}{path}"


def load(
    tokn: Tokn,
    key: str | list[str],
    *,
    stream: bool,
    count: int,
    model: str = "priced",
    dialect: str = "chat",
) -> dict[str, Any]:
    """Runs the load generator to its end, with one key or several in turn. Raises if an answer was not good."""
    keys = [key] if isinstance(key, str) else key
    arguments = json.dumps([tokn.port, keys, model, stream, count, CALLERS, dialect])
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load", arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    if figures["failures"] or figures["answered"] != count:
        raise RuntimeError(f"{figures}")
    return figures


def cpu_s(tokn: Tokn) -> Counter[str]:
    """CPU seconds, user and system, of each kind of process so far."""
    used: Counter[str] = Counter()
    for process in tokn.tree()[1:]:
        times = process.cpu_times()
        used[process_name(process)] += times.user + times.system
    return used


def measure(
    tokn: Tokn, key: dict[str, Any], *, stream: bool, count: int, model: str = "priced"
) -> tuple[Counter[str], dict[str, Any]]:
    """CPU milliseconds a request by process, its bill applied, and the load generator's figures."""
    load(tokn, key["key"], stream=stream, count=WARM_UP, model=model)
    tokn.settled(key["id"], 30)
    before = cpu_s(tokn)
    figures = load(tokn, key["key"], stream=stream, count=count, model=model)
    tokn.settled(key["id"], 30)
    used = cpu_s(tokn)
    return Counter({name: (used[name] - before[name]) * 1_000 / count for name in CHILDREN}), figures


def top_five(stacks: str) -> tuple[int, list[tuple[str, int]]]:
    """The functions that were innermost most often, of py-spy's raw stacks, and how many samples there were."""
    leaves: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        leaves[stack.rpartition(";")[2]] += int(samples)
    return sum(leaves.values()), leaves.most_common(5)


def profile(
    tokn: Tokn,
    key: dict[str, Any],
    *,
    stream: bool,
    count: int,
    model: str = "priced",
    dialect: str = "chat",
) -> dict[str, tuple[int, list[tuple[str, int]]]]:
    """The five hottest functions of each Python process under load."""
    with tempfile.TemporaryDirectory() as folder:
        watchers = {}
        for name in ("edge", "worker", "ledger"):
            options = ["-r", "250", "-d", str(PROFILE_S), "-f", "raw", "-o", f"{folder}/{name}"]
            watchers[name] = subprocess.Popen(
                [
                    str(Path(sys.executable).parent / "py-spy"),
                    "record",
                    *options,
                    "--pid",
                    str(tokn.child(name).pid),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        while any(watcher.poll() is None for watcher in watchers.values()):
            load(tokn, key["key"], stream=stream, count=count, model=model, dialect=dialect)
        return {name: top_five(Path(folder, name).read_text()) for name in watchers}


def say(line: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def report(title: str, by_process: Counter[str], figures: dict[str, Any]) -> None:
    """Prints one table."""
    target = f" (target {TARGET_MS[title]:.1f})" if title in TARGET_MS else ""
    say(f"\n{title}: {sum(by_process.values()):.2f} ms CPU a request{target}")
    for name in CHILDREN:
        say(f"  {name:12} {by_process[name]:6.3f} ms")
    say(
        f"  {figures['per_s']:.0f} requests/s, p50 {figures['p50_ms']:.1f} ms, p99 {figures['p99_ms']:.1f} ms, "
        f"{CALLERS} callers"
    )


def bench(
    folder: Path, *, pace_s: float, cases: list[tuple[str, bool]], count: int, with_profile: bool
) -> None:
    """Measures some cases on a fresh deployment with a canned upstream."""
    upstream, base_url = canned(pace_s)
    folder.mkdir()
    try:
        with StartedTokn(folder / "data", pool_toml(base_url)) as tokn:
            say(f"idle memory of all processes: {memory_bytes(tokn.tree()) / 2**20:.0f} MB (target 300)")
            for process in tokn.tree():
                say(f"  {process_name(process) or 'up':12} {memory_bytes([process]) / 2**20:6.0f} MB")
            key = tokn.row("key", "create", "--name", "bench", "--balance", "100000")
            for title, stream in cases:
                calls = count // 3 if stream else count
                report(title, *measure(tokn, key, stream=stream, count=calls))
                if with_profile:
                    for name, (samples, hottest) in profile(tokn, key, stream=stream, count=calls).items():
                        say(f"  {name}, innermost functions of {samples} samples:")
                        for function, seen in hottest:
                            say(f"    {seen * 100 / max(samples, 1):4.1f} %  {function}")
            if not tokn.audit()["ok"]:
                raise RuntimeError("the books do not balance")
    finally:
        upstream.terminate()
        upstream.communicate()


def main() -> None:
    """Measures plain calls, streams of 50 as fast as they go, and streams of 50 at 5 ms a chunk."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=6_000, help="plain calls; a third as many streams")
    options.add_argument("--profile", action="store_true", help="then profile each case for 10 s")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases = [("plain", False), ("stream of 50", True)]
        bench(Path(folder, "a"), pace_s=0.0, cases=cases, count=chosen.count, with_profile=chosen.profile)
        paced = [("stream of 50, 5 ms a chunk", True)]
        bench(Path(folder, "b"), pace_s=0.005, cases=paced, count=chosen.count, with_profile=False)


if __name__ == "__main__":
    main()
