"""Owns what the Anthropic tests share: models, jobs, fixtures, and reading an exchange's output like a caller."""

import json
from pathlib import Path
from typing import Any

import msgspec

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import VERSION, Job
from schemas.catalogue.anthropic import CLAUDE_47, anthropic_capabilities
from schemas.catalogue.model import Model
from schemas.chat.request import CHAT, COMPLETIONS
from tests.fakes.anthropic import API_KEY, framed
from tests.fakes.anthropic_rules import check
from workers.providers.anthropic.family import Anthropic
from workers.providers.base import Exchange

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "anthropic"
ACCOUNT = AccountSettings(id="main", api_key=API_KEY)
USER = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def model(upstream: str, **able: Any) -> Model:
    """A catalogue row of an Anthropic model."""
    return Model(
        id="M",
        pool="anthropic",
        upstream=upstream,
        provider="anthropic",
        context=200_000,
        max_output=8_192,
        capabilities=msgspec.structs.replace(anthropic_capabilities(upstream), **able),
    )


OLD = model("claude-3-5-sonnet-20241022")
MIDDLE = model("claude-opus-4-1")
NEW = model("claude-opus-4-8")
assert NEW.capabilities == CLAUDE_47


def job(body: dict[str, Any], /, **fields: Any) -> Job:
    """A job for a chat body, as an edge would publish it; for a legacy completion say `dialect` and the choices."""
    whole = {"model": "M"} | ({"messages": USER} if "prompt" not in body else {}) | body
    raw = json.dumps(whole).encode()
    known: dict[str, Any] = {
        "v": VERSION,
        "request_id": "1",
        "attempt": 1,
        "dialect": COMPLETIONS if "prompt" in body else CHAT,
        "model": "M",
        "upstream": "claude-x",
        "stream": bool(body.get("stream")),
        "include_usage": bool((body.get("stream_options") or {}).get("include_usage")),
        "include_cost": False,
        "limit": 8_192,
        "write_limit": False,
        "prompt_max": 1_000_000,
        "text_bytes": 100,
        "choices": body.get("n") or 1,
        "hold_list_nano": 0,
        "deadline_s": 60.0,
        "published_ms": 1000,
        "body": raw,
        "body_bytes": len(raw),
    }
    return Job(**known | fields)


def stream_job(**body: Any) -> Job:
    """A job for a stream that ends with usage."""
    return job({"stream": True, "stream_options": {"include_usage": True}} | body)


def exchange(of: Job, row: Model = OLD) -> Exchange:
    """The one exchange of a chat job, its request already made."""
    (made,) = Anthropic().open(of, row, {})
    made.request(ACCOUNT)
    return made


def sent(body: dict[str, Any], row: Model = OLD, **fields: Any) -> dict[str, Any]:
    """What the upstream is sent for a chat body; it must pass the API's own rules."""
    made = exchange(job(body, upstream=row.upstream, **fields), row)
    return check(made.request(ACCOUNT).body, row.capabilities)


def play(made: Exchange, *events: Any) -> bytes:
    """What a caller gets for a stream of events that then ends."""
    return made.feed(b"".join(framed(event) for event in events)) + made.close()


def chunks(out: bytes) -> list[dict[str, Any]]:
    """The chunks in a caller's stream."""
    return [json.loads(event.removeprefix(b"data: ")) for event in out.split(b"\n\n") if event]


def deltas(out: bytes) -> list[dict[str, Any]]:
    """The deltas in a caller's stream, in order."""
    return [choice["delta"] for chunk in chunks(out) for choice in chunk["choices"]]
