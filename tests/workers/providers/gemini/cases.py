"""Owns what the Gemini tests share: models, jobs, fixtures, and reading an exchange's output like a caller."""

import json
from pathlib import Path
from typing import Any

import msgspec

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import VERSION, Job
from schemas.catalogue.gemini import GEMINI_1, GEMINI_3, gemini_capabilities
from schemas.catalogue.model import Model
from schemas.chat.request import CHAT
from tests.fakes.gemini import API_KEY, framed
from workers.providers.base import Exchange
from workers.providers.gemini.family import Gemini

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "gemini"
ACCOUNT = AccountSettings(id="main", api_key=API_KEY)
USER = [{"role": "user", "content": "hi"}]


def model(upstream: str = "gemini-x", **able: Any) -> Model:
    """A catalogue row; "gemini-x" is a model of the third generation."""
    capabilities = msgspec.structs.replace(gemini_capabilities(upstream), **able)
    return Model(
        id="M",
        pool="gemini",
        upstream=upstream,
        provider="gemini",
        context=1_048_576,
        max_output=65_536,
        capabilities=capabilities,
    )


OLD = model("gemini-1.5-pro-latest")
NEW = model()
assert OLD.capabilities == GEMINI_1
assert NEW.capabilities == GEMINI_3


def job(body: dict[str, Any], /, *, limit: int = 65_536, **fields: Any) -> Job:
    """A job for a chat body, as an edge would publish it."""
    whole = {"model": "M", "messages": USER} | body
    raw = json.dumps(whole).encode()
    known: dict[str, Any] = {
        "v": VERSION,
        "request_id": "1",
        "attempt": 1,
        "dialect": CHAT,
        "model": "M",
        "upstream": "gemini-x",
        "stream": bool(body.get("stream")),
        "include_usage": bool((body.get("stream_options") or {}).get("include_usage")),
        "include_cost": False,
        "limit": limit,
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


def exchange(of: Job, row: Model = NEW, thoughts: dict[str, str] | None = None) -> Exchange:
    """The one exchange of a chat job, its request already made."""
    (made,) = Gemini().open(of, row, thoughts or {})
    made.request(ACCOUNT)
    return made


def sent(
    body: dict[str, Any], row: Model = NEW, thoughts: dict[str, str] | None = None, **fields: Any
) -> Any:
    """The JSON that goes upstream for a body."""
    (made,) = Gemini().open(job(body, **fields), row, thoughts or {})
    return json.loads(made.request(ACCOUNT).body)


def fixture(name: str) -> tuple[str, ...]:
    """The events of a fixture, a line each."""
    return tuple(line for line in (FIXTURES / name).read_text().splitlines() if line)


def wire(events: Any) -> bytes:
    """Events as Google puts them on the wire."""
    return b"".join(framed(event) for event in events)


def said(text: str, **more: Any) -> Any:
    """A chunk of one candidate with a text."""
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0} | more]}


def play(made: Exchange, data: bytes, size: int = 0) -> bytes:
    """What a caller gets of a stream that is read in pieces of `size` bytes, or whole."""
    step = size or len(data) or 1
    out = b"".join(made.feed(data[start : start + step]) for start in range(0, len(data), step))
    return out + made.close()


def chunks(out: bytes) -> list[Any]:
    """The chunks in a caller's stream, each event checked for its framing."""
    events = out.split(b"\n\n")
    assert events.pop() == b""
    assert all(event.startswith(b"data: ") for event in events)
    return [json.loads(event[6:]) for event in events]


def deltas(out: bytes, choice: int = 0) -> dict[str, Any]:
    """A choice as the OpenAI SDK would accumulate it: content, tool calls by index, finish reasons said."""
    content, calls, reasons = "", {}, []
    for chunk in chunks(out):
        for one in chunk["choices"]:
            if one["index"] != choice:
                continue
            content += one["delta"].get("content") or ""
            for call in one["delta"].get("tool_calls", ()):
                known = calls.setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
                known["id"] += call.get("id", "")
                known["name"] += call["function"].get("name", "")
                known["arguments"] += call["function"]["arguments"]
            if one["finish_reason"] is not None:
                reasons.append(one["finish_reason"])
    return {"content": content, "calls": [calls[index] for index in sorted(calls)], "reasons": reasons}
