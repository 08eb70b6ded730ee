"""Generated bodies of /v1/messages: a 400 before money, or what each family is sent is valid by its own rules."""

import json
from typing import Any

import msgspec
import pydantic
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.dialects.messages.dialect import DIALECT
from tests.fakes import anthropic_rules, bedrock_rules, gemini_rules, openai
from tests.fakes.message_bodies import body, encoded
from tests.workers.providers.anthropic import cases as anthropic_cases
from tests.workers.providers.bedrock import cases as bedrock_cases
from tests.workers.providers.gemini import cases as gemini_cases
from workers.providers.anthropic.family import Anthropic
from workers.providers.bedrock.family import Bedrock
from workers.providers.gemini.family import Gemini
from workers.providers.openai.family import OpenAI

_CHAT = pydantic.TypeAdapter(CompletionCreateParamsNonStreaming)
_OPENAI = Model(
    id="M",
    pool="openai",
    upstream="gpt-x",
    provider="openai",
    context=200_000,
    max_output=16_000,
    capabilities=msgspec.structs.replace(
        anthropic_cases.NEW.capabilities, limit_field="max_completion_tokens", cache_points=0
    ),
)


def check_chat(raw: bytes, row: Model) -> None:
    """OpenAI's own types, and what they cannot say: a limit, and results that follow their calls."""
    made = json.loads(raw)
    stream = made.pop("stream", None)
    assert stream in (True, False, None)
    made.pop("stream_options", None)
    anthropic_rules._drain(_CHAT.validate_python(made))
    assert made["max_completion_tokens"] <= row.max_output
    assert "null" not in {json.dumps(value) for value in made.values()}
    waiting: set[str] = set()
    for message in made["messages"]:
        if message["role"] == "tool":
            waiting.discard(message["tool_call_id"])
        elif message["role"] == "assistant":
            waiting = {call["id"] for call in message.get("tool_calls", ())}
            assert all(len(call) <= 40 for call in waiting)


def check_bedrock(raw: bytes, row: Model) -> None:
    """The service's own model, and its rules."""
    if row.upstream == bedrock_cases.TITAN:
        bedrock_rules.check_titan(row.upstream, json.loads(raw))
    else:
        bedrock_rules.check("Converse", row.upstream, json.loads(raw))


def check_invoked(raw: bytes, row: Model) -> None:
    """The same of Claude's own form on Bedrock, which refuses more."""
    made = json.loads(raw)
    assert made.pop("anthropic_version") == "bedrock-2023-05-31"
    assert not made.keys() & {"model", "stream", "cache_control", "context_management", "service_tier"}
    assert all(turn.get("role") != "system" for turn in made["messages"])  # others it judges itself
    check_native(json.dumps(made | {"model": row.upstream}).encode(), row)


def check_native(raw: bytes, row: Model) -> None:
    """What the gateway promises of a body that its provider judges: the model, a limit that is held, known fields."""
    made = json.loads(raw)
    assert made["model"] == row.upstream
    assert 1 <= made["max_tokens"] <= row.max_output
    assert b"tokn1.AAAA" not in raw
    assert not set(made) - {
        "cache_control", "context_management", "max_tokens", "messages", "metadata", "model", "output_config",
        "service_tier", "stop_sequences", "stream", "system", "temperature", "thinking", "tool_choice", "tools",
        "top_k", "top_p",
    }  # fmt: skip


ROWS: dict[str, tuple[Any, tuple[Model, ...], Any]] = {
    "anthropic": (
        Anthropic(),
        tuple(map(anthropic_cases.model, ("claude-opus-4-1", "claude-opus-4-8"))),
        check_native,
    ),
    "gemini": (
        Gemini(),
        tuple(map(gemini_cases.model, ("gemini-2.5-pro", "gemini-3.8-flash"))),
        lambda raw, row: gemini_rules.check(raw, row.capabilities),
    ),
    "bedrock": (
        Bedrock(),
        tuple(
            map(
                bedrock_cases.by_converse,
                (bedrock_cases.CLAUDE, bedrock_cases.CLAUDE_EFFORT, bedrock_cases.NOVA, bedrock_cases.TITAN),
            )
        ),
        check_bedrock,
    ),
    "openai": (OpenAI(), (_OPENAI,), check_chat),
    "bedrock natively": (
        Bedrock(),
        tuple(map(bedrock_cases.model, (bedrock_cases.CLAUDE, bedrock_cases.CLAUDE_EFFORT))),
        check_invoked,
    ),
}
_ACCOUNT = AccountSettings(id="main", api_key=openai.API_KEY)


def job_of(raw: bytes, row: Model) -> Job | None:
    """What an edge would publish for a body; None for a 400."""
    try:
        fields = DIALECT.decode(raw)
        ask = DIALECT.read(fields)
        bound = DIALECT.bound(fields, ask, row)
        encoded = DIALECT.encode(fields)
        refused = DIALECT.refuse(row, encoded)
    except RequestError as error:
        refused = error.error
    if refused is not None:
        assert refused.status == 400
        assert refused.message
        return None
    assert bound.limit is not None
    return msgspec.structs.replace(
        anthropic_cases.job({}),
        dialect="messages",
        body=encoded,
        upstream=row.upstream,
        stream=ask.stream,
        limit=bound.limit,
        write_limit=(ask.limit or 0) > bound.limit,
        scope="s",
    )


@pytest.mark.parametrize("family", ROWS)
@pytest.mark.parametrize("count", [500, pytest.param(5_000, marks=pytest.mark.long)])
def test_refused_or_valid(family: str, count: int) -> None:
    """2,000 bodies in all, 20,000 in the long run; a good part of each family's is served."""
    made, rows, check = ROWS[family]
    served = 0
    first = list(ROWS).index(family) * count
    for seed in range(first, first + count):
        row = rows[seed % len(rows)]
        try:
            job = job_of(encoded(seed), row)
            if job is None:
                continue
            (exchange,) = made.open(job, row, {})
            raw = exchange._body if family.startswith("bedrock") else exchange.request(_ACCOUNT).body
            check(raw, row)
        except Exception as wrong:
            raise AssertionError(f"seed {seed}, {row.upstream}: {json.dumps(body(seed))}") from wrong
        served += 1
    assert served > count // 5
