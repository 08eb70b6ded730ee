"""Owns the cost of translation: CPU per stream of 50 chunks of each family, beside the pass-through's, bills included.

`python -m tests.bench.families [--count N] [--pace-s S] [--profile]` prints a line a family, and with `--profile` where the worker
spends most.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.requests import canned, measure, profile, say
from tests.fakes import bedrock
from tests.fakes.families import PROVIDERS, UPSTREAMS, model_toml, pool_toml
from tests.fakes.tokn import CHILDREN, StartedTokn, Tokn

RATIO_MAX = 2.0  # of the pass-through's CPU


@contextmanager
def upstreams(pace_s: float) -> Iterator[dict[str, str]]:
    """A canned upstream of each provider: its address."""
    with ExitStack() as stack:
        started = {}
        for provider in PROVIDERS:
            process, started[provider] = canned(pace_s, provider)
            stack.callback(_end, process)
        yield started


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate()


def account_toml(provider: str, address: str) -> str:
    """An account on a canned upstream."""
    if provider == "bedrock":
        return bedrock.account_toml(address).split('id = "main"\n')[1]
    return f'api_key = "canned-key"\nbase_url = "{address}"\n'


def _config(addresses: dict[str, str]) -> str:
    text = ""
    for provider, address in addresses.items():
        text += pool_toml(provider, provider, [account_toml(provider, address)])
        text += model_toml(provider, provider, UPSTREAMS[provider])
    return text


def main() -> None:
    """Measures each family in turn on one deployment."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=1_500, help="streams of each family")
    options.add_argument("--pace-s", type=float, default=0.0, help="between two chunks")
    options.add_argument("--profile", action="store_true", help="then profile each family for 10 s")
    chosen = options.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        upstreams(chosen.pace_s) as addresses,
        StartedTokn(Path(folder, "data"), _config(addresses)) as tokn,
    ):
        bench(tokn, chosen.count, with_profile=chosen.profile)


def bench(tokn: Tokn, count: int, *, with_profile: bool) -> None:
    """Measures each family in turn."""
    key = tokn.row("key", "create", "--name", "bench", "--balance", "100000")
    passed = 0.0
    for provider in PROVIDERS:
        used, figures = measure(tokn, key, stream=True, count=count, model=provider)
        total = sum(used.values())
        passed = passed or total
        shares = ", ".join(f"{name} {used[name]:.2f}" for name in CHILDREN)
        say(
            f"{provider:10} {total:5.2f} ms a stream of 50, {total / passed:4.2f} x the pass-through "
            f"(at most {RATIO_MAX}): {shares}; {figures['per_s']:.0f} streams/s"
        )
        if with_profile:
            samples, hottest = profile(tokn, key, stream=True, count=count, model=provider)["worker"]
            for function, seen in hottest:
                say(f"    {seen * 100 / max(samples, 1):4.1f} %  {function}")
    if not tokn.audit()["ok"]:
        raise RuntimeError("the books do not balance")


if __name__ == "__main__":
    main()
