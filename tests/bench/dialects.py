"""Owns the cost of dialects: CPU of a call in each, beside chat's on the same upstream, by runs in turn.

`python -m tests.bench.dialects [--dialect NAME] [--family NAME] [--turns 8] [--count 300] [--pace-s S] [--plain]
[--profile]` prints a line a dialect and family: CPU of a call by process, and the median ratio to chat's. `native` is
OpenAI's family on an upstream that has Responses; on `openai` they go through chat. Embeddings are plain, and are
compared to a plain chat.

An upstream at 127.0.0.1 is any compatible server. `--host api.openai.com`, once that name leads to this machine in
its table of hosts, measures the path of OpenAI's own.
"""

import argparse
import statistics
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.bench.families import account_toml, upstreams
from tests.bench.requests import WARM_UP, cpu_s, load, profile, say
from tests.fakes.families import PROVIDERS, UPSTREAMS, model_toml, pool_toml
from tests.fakes.responses import NATIVE
from tests.fakes.tokn import CHILDREN, StartedTokn, Tokn

FAMILIES = (*PROVIDERS, NATIVE)
DIALECTS = ("responses", "messages")
EMBEDDINGS = "embeddings"
VECTORS = {
    "openai": "text-embedding-3-small",
    "gemini": "gemini-embedding-001",
    "bedrock": "amazon.titan-embed-text-v2:0",
}
PASSED_ON = ((NATIVE, "responses"), ("anthropic", "messages"))
NATIVE_MAX, TRANSLATED_MAX = 1.3, 2.0  # of chat's CPU


class Case(Struct, frozen=True):
    """One dialect on one family."""

    family: str
    dialect: str
    stream: bool

    @property
    def model(self) -> str:
        """The id that its calls name."""
        return VECTORS[self.family] if self.dialect == EMBEDDINGS else self.family

    @property
    def bound(self) -> float:
        """What it may cost, as a ratio to chat on the same family."""
        return NATIVE_MAX if (self.family, self.dialect) in PASSED_ON else TRANSLATED_MAX


class Spent(Struct):
    """What the runs of one case came to."""

    cpu_ms: list[Counter[str]] = []  # a call, by process, of each turn

    def total_ms(self, turn: int) -> float:
        """Of one turn, over all processes."""
        return self.cpu_ms[turn].total()


class Bench:
    """One deployment with a key that pays."""

    def __init__(self, tokn: Tokn, count: int) -> None:
        self.tokn = tokn
        self.count = count
        self.key: dict[str, Any] = tokn.row("key", "create", "--name", "bench", "--balance", "100000")

    def run(self, case: Case, count: int) -> Counter[str]:
        """CPU milliseconds a call by process, bills applied."""
        before = cpu_s(self.tokn)
        load(
            self.tokn,
            self.key["key"],
            stream=case.stream,
            count=count,
            model=case.model,
            dialect=case.dialect,
        )
        self.tokn.settled(self.key["id"], 30)
        used = cpu_s(self.tokn)
        return Counter({name: (used[name] - before[name]) * 1_000 / count for name in CHILDREN})

    def compare(self, chat: Case, others: list[Case], turns: int) -> dict[Case, Spent]:
        """Chat and the others in turn: A B C, C B A, and so on."""
        cases = [chat, *others]
        spent = {case: Spent() for case in cases}
        for case in cases:
            self.run(case, WARM_UP)
        for turn in range(turns):
            for case in cases if turn % 2 == 0 else cases[::-1]:
                spent[case].cpu_ms.append(self.run(case, self.count))
        return spent

    def show(self, case: Case) -> None:
        """Where each process spends the most in one case."""
        found = profile(
            self.tokn,
            self.key,
            stream=case.stream,
            count=self.count,
            model=case.model,
            dialect=case.dialect,
        )
        for name, (samples, hottest) in found.items():
            for function, seen in hottest:
                say(f"    {name:7} {seen * 100 / max(samples, 1):4.1f} %  {function}")


def config(addresses: dict[str, str], host: str) -> str:
    """A pool and a model of each family's name, and models that embed, each on its canned upstream."""
    text = ""
    for family in FAMILIES:
        provider = "openai" if family == NATIVE else family
        address = addresses[provider]
        if provider == "openai":
            address = address.replace("127.0.0.1", host)
        pool = pool_toml(family, provider, [account_toml(provider, address)])
        if family == NATIVE:
            pool = pool.replace("rate", "responses = true\nrate", 1)
        text += pool + model_toml(family, family, UPSTREAMS[provider])
    return text


def line(case: Case, spent: Spent, chat: Spent) -> str:
    """What came out of a case."""
    turns = range(len(spent.cpu_ms))
    total_ms = statistics.median(map(spent.total_ms, turns))
    parts = ", ".join(
        f"{name} {statistics.median(used[name] for used in spent.cpu_ms):.2f}" for name in CHILDREN
    )
    told = f"{case.family:10} {case.dialect:11} {total_ms:5.2f} ms: {parts}"
    if spent is chat:
        return told
    ratios = [spent.total_ms(turn) / chat.total_ms(turn) for turn in turns]
    return f"{told}; {statistics.median(ratios):.3f} x chat's (at most {case.bound})"


def main() -> None:
    """Measures each family in turn on one deployment."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dialect", choices=(*DIALECTS, EMBEDDINGS), help="one of them; else all")
    options.add_argument("--family", choices=FAMILIES, help="one of them; else all")
    options.add_argument("--turns", type=int, default=8)
    options.add_argument("--count", type=int, default=300, help="calls of a run")
    options.add_argument("--pace-s", type=float, default=0.0, help="between two chunks of a stream")
    options.add_argument("--plain", action="store_true", help="plain calls in place of streams of 50")
    options.add_argument("--profile", action="store_true", help="then profile each dialect for 10 s")
    options.add_argument(
        "--host", default="127.0.0.1", help="what OpenAI's upstream is called; it must lead to this machine"
    )
    chosen = options.parse_args()
    dialects = [chosen.dialect] if chosen.dialect else [*DIALECTS, *([EMBEDDINGS] if chosen.plain else [])]
    stream = not (chosen.plain or chosen.dialect == EMBEDDINGS)
    with (
        tempfile.TemporaryDirectory() as folder,
        upstreams(chosen.pace_s) as addresses,
        StartedTokn(Path(folder, "data"), config(addresses, chosen.host)) as tokn,
    ):
        bench = Bench(tokn, chosen.count)
        for family in [chosen.family] if chosen.family else FAMILIES:
            chat = Case(family, "chat", stream)
            others = [
                Case(family, dialect, stream)
                for dialect in dialects
                if dialect != EMBEDDINGS or family in VECTORS
            ]
            spent = bench.compare(chat, others, chosen.turns)
            for case, own in spent.items():
                say(line(case, own, spent[chat]))
                if chosen.profile:
                    bench.show(case)
        if not tokn.audit()["ok"]:
            raise RuntimeError("the books do not balance")


if __name__ == "__main__":
    main()
