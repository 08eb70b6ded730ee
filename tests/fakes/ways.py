"""Owns the ways by which a load calls a deployment: every dialect, native and translated, on one scripted upstream.

What the upstream is to answer stands in the prompt, since no other field passes in every dialect.
"""

import asyncio
import base64
import itertools
import json
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import aiohttp
from msgspec import Struct

from tests.fakes import telling
from tests.fakes.caller import Seen, call
from tests.fakes.spoken import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    PATHS,
    RESPONSES,
    STREAMED,
    question,
)
from tests.fakes.upstream import API_KEY, MARK, pool_toml

IN_NANO, CACHED_NANO, OUT_NANO = 1_500, 750, 6_000  # of all models of `ways_toml`, a token
POOLS = ("openai", "direct", "claude")  # what a worker of them serves
TIGHT, TIGHT_CONTEXT = "tight-", 400
_PRICED, _DIRECT, _CLAUDE, _VECTORS = "priced", "direct", "claude", "vectors"


class Way(Struct, frozen=True):
    """A dialect, and a model whose provider speaks it or does not."""

    dialect: str
    model: str

    @property
    def path(self) -> str:
        """Its route."""
        return PATHS[self.dialect]

    @property
    def streams(self) -> bool:
        """Whether there are streams."""
        return self.dialect in STREAMED

    def ask(
        self,
        tag: str,
        *,
        stream: bool,
        limit: int | None = 400,
        first: str = "",
        text: str = "hello",
        **script: Any,
    ) -> dict[str, Any]:
        """A body whose upstream is scripted. `first` is a model that is asked before, and fails."""
        scripts = {first: {"status": 500}} if first else {}
        told = json.dumps({"x_script": {"tag": tag, **script}, "x_scripts": scripts}).encode()
        prompt = f"{text} {MARK.decode()}{base64.urlsafe_b64encode(told).decode()}"
        body = question(self.dialect, self.model, prompt, stream=stream and self.streams, limit=limit)
        return body | {"models": [first, body.pop("model")]} if first else body

    @property
    def tight(self) -> "Way":
        """The same at a model whose prompts are held at its window, so that all dialects' holds are the same."""
        return Way(self.dialect, TIGHT + self.model)

    def cost_nano(self, *, prompt: int, cached: int, words: int) -> int:
        """What an answer of so many tokens costs: vectors are no output, and nothing of their text is cached."""
        if self.dialect == EMBEDDINGS:
            return prompt * IN_NANO
        return (prompt - cached) * IN_NANO + cached * CACHED_NANO + words * OUT_NANO


WAYS = (
    Way(CHAT, _PRICED),
    Way(RESPONSES, _DIRECT),
    Way(MESSAGES, _PRICED),
    Way(COMPLETIONS, _PRICED),
    Way(MESSAGES, _CLAUDE),
    Way(RESPONSES, _PRICED),
    Way(CHAT, _CLAUDE),
    Way(EMBEDDINGS, _VECTORS),
)
SPEAKING = tuple(way for way in WAYS if way.streams)


def in_turn(*, stream: bool = False) -> Iterator[Way]:
    """All of them, for ever; those with streams."""
    return itertools.cycle(SPEAKING if stream else WAYS)


def racers_of(count: int, client: aiohttp.ClientSession, url: str, key: str) -> list[asyncio.Task[Seen]]:
    """So many calls at once in all dialects that have an output to hold: each is held for the same, and waits at the gate."""
    tasks = []
    for number, way in zip(range(count), map(attrgetter("tight"), in_turn(stream=True)), strict=False):
        stream = bool(number // len(SPEAKING) % 2)
        request = way.ask(
            "race", stream=stream, limit=16_000, text="x" * TIGHT_CONTEXT, gate=True, prompt=1, words=1
        )
        tasks.append(asyncio.create_task(call(client, url, key, request, path=way.path)))
    return tasks


def ways_toml(base_url: str, *, rate: str = "0.60", more: str = "") -> str:
    """A tokn.toml with the models of all of them, on one upstream, at the prices of `pool_toml`."""
    root = base_url.removesuffix("/v1")
    made = pool_toml(base_url, rate=rate)
    made += _pool(_DIRECT, "openai", base_url, rate, "responses = true\n")
    made += _pool(_CLAUDE, "anthropic", root, rate)
    made += _model(_DIRECT, _DIRECT) + _model(_CLAUDE, _CLAUDE)
    made += "".join(
        _model(TIGHT + name, pool, TIGHT_CONTEXT)
        for name, pool in ((_PRICED, "openai"), (_DIRECT, _DIRECT), (_CLAUDE, _CLAUDE))
    )
    made += _model(_VECTORS, "openai") + (
        f"[models.capabilities]\nchat = false\n[models.capabilities.embeddings]\ndimensions = {telling.SIZE}\n"
    )
    return made + more


def _pool(name: str, provider: str, base_url: str, rate: str, more: str = "") -> str:
    return (
        f'[pools.{name}]\nprovider = "{provider}"\nrate = {rate}\n{more}[[pools.{name}.accounts]]\nid = "main"\n'
        f'api_key = "{API_KEY}"\nbase_url = "{base_url}"\nmax_inflight = 256\n'
    )


def _model(name: str, pool: str, context: int = 128_000) -> str:
    return (
        f'[[models]]\nid = "{name}"\npool = "{pool}"\nupstream = "{name}-upstream"\n'
        f"input = 2.50\ncached_input = 1.25\noutput = 10.00\ncontext = {context}\nmax_output = 16384\n"
    )
