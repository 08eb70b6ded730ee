"""Owns what the tests of the Bedrock family share: jobs, models, and how bytes are fed to an exchange."""

import json
from typing import Any

from msgspec import structs

from schemas.bus.frames import Job
from schemas.catalogue.bedrock import bedrock_capabilities
from schemas.catalogue.model import Model
from schemas.chat.request import CHAT
from schemas.money.pricing import Price, PriceTier
from workers.providers.base import Exchange
from workers.providers.bedrock.family import Bedrock

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CLAUDE_3 = "anthropic.claude-3-haiku-20240307-v1:0"
CLAUDE_EFFORT = "global.anthropic.claude-opus-4-6-v1"
NOVA = "amazon.nova-lite-v1:0"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
LLAMA = "meta.llama3-1-70b-instruct-v1:0"
TITAN = "amazon.titan-text-express-v1"


def model(upstream: str = CLAUDE, tier: PriceTier | None = None, **uplifts: Any) -> Model:
    prices = (Price(id="p", tiers=(tier,), uplifts=uplifts),) if tier is not None else ()
    return Model(
        id="M",
        pool="bedrock",
        provider="bedrock",
        upstream=upstream,
        context=200_000,
        max_output=8_192,
        prices=prices,
        capabilities=bedrock_capabilities(upstream),
    )


def by_converse(upstream: str) -> Model:
    """A model that callers of Messages, too, have by Converse: a Claude's own form is `test_invoke`'s."""
    row = model(upstream)
    return structs.replace(row, capabilities=structs.replace(row.capabilities, messages=False))


def job(upstream: str = CLAUDE, *, stream: bool = True, limit: int = 1_000, **body: Any) -> Job:
    body = {"model": "M", "messages": [{"role": "user", "content": "hi"}], "stream": stream} | body
    raw = json.dumps(body).encode()
    return Job(
        v=1,
        request_id="1",
        attempt=1,
        dialect=CHAT,
        model="M",
        upstream=upstream,
        stream=stream,
        include_usage=True,
        include_cost=False,
        limit=limit,
        write_limit=False,
        prompt_max=10_000,
        text_bytes=100,
        choices=1,
        hold_list_nano=0,
        deadline_s=60.0,
        published_ms=1_000,
        body=raw,
        body_bytes=len(raw),
    )


def exchange(
    upstream: str = CLAUDE, thoughts: dict[str, str] | None = None, family: Bedrock | None = None, **body: Any
) -> Exchange:
    made = (family or Bedrock()).open(job(upstream, **body), model(upstream), thoughts or {})
    assert len(made) == 1
    return made[0]


def feed(to: Exchange, data: bytes, piece_bytes: int = 0) -> str:
    """The caller's stream, the constant head of each chunk left out, after a clean end of file."""
    out = b""
    size = piece_bytes or len(data) or 1
    for start in range(0, len(data), size):
        out += to.feed(data[start : start + size])
        if to.fault is not None or to.finished:
            break
    if not to.finished and to.fault is None:
        out += to.close()
    head = b'"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"M",'
    return out.replace(head, b"").decode()


def chunks(text: str) -> list[dict[str, Any]]:
    """The decoded events of a stream."""
    assert text == "" or text.endswith("\n\n")
    events = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    return [json.loads(event) for event in events]
