"""What leaves for a provider, for every profile and every option of a caller: never a field that the model refuses."""

import json
from typing import Any

import pytest

from runtime.settings.settings import AccountSettings
from schemas.catalogue.model import Model
from schemas.catalogue.profiles import profiled
from schemas.chat.refusals import refuse
from schemas.chat.request import CHAT, COMPLETIONS
from tests.fakes import anthropic_rules, bedrock_rules, gemini_rules
from tests.fakes.worker import job
from tests.schemas.catalogue.test_profiles import ANTHROPIC, BEDROCK, GEMINI, NEW, OLD, OPENAI
from workers.providers import family

ACCOUNT = AccountSettings(
    id="a",
    base_url="https://api.openai.com/v1",
    api_key="k",
    region="us-east-1",
    access_key_id="i",
    secret_access_key="s",
)
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}]
SCHEMA = {"name": "a", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
OPTIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "max_tokens": {"max_tokens": 50},
    "max_completion_tokens": {"max_completion_tokens": 50},
    "both limits": {"max_tokens": 60, "max_completion_tokens": 50},
    "limits as null": {"max_tokens": None, "max_completion_tokens": None},
    "a limit above the grant": {"max_tokens": 2_000_000},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "both": {"temperature": 0.5, "top_p": 0.5},
    "defaults": {"temperature": 1, "top_p": 1, "presence_penalty": 0, "n": 1, "logprobs": False},
    "presence_penalty": {"presence_penalty": 0.5},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "stop": {"stop": ["END"]},
    "top_k": {"top_k": 5},
    "seed": {"seed": 5},
    "n": {"n": 2},
    "tools": {"tools": TOOLS},
    "a forced tool": {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}},
    "some tool": {"tools": TOOLS, "tool_choice": "required"},
    "one tool at a time": {"tools": TOOLS, "parallel_tool_calls": False},
    "json": {"response_format": {"type": "json_object"}},
    "a schema": {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    "a schema and tools": {
        "tools": TOOLS,
        "response_format": {"type": "json_schema", "json_schema": SCHEMA},
    },
    **{f"effort {effort}": {"reasoning_effort": effort} for effort in EFFORTS},
    **{f"effort {effort} and sampling": {"reasoning_effort": effort, "top_p": 0.5} for effort in EFFORTS},
}
CHECKS: dict[str, Any] = {
    "anthropic": lambda raw, row: anthropic_rules.check(raw, row.capabilities),
    "gemini": lambda raw, row: gemini_rules.check(raw, row.capabilities),
    "bedrock": lambda raw, row: bedrock_rules.check("Converse", row.upstream, json.loads(raw)),
}
TRANSLATED = [
    (provider, upstream)
    for provider, ids in (("anthropic", ANTHROPIC), ("gemini", GEMINI), ("bedrock", BEDROCK))
    for upstream in ids
]
# What these refuse: the gateway must not write it. What the caller wrote, their server judges.
LIMITS = {OLD, NEW}


def model(provider: str, upstream: str) -> Model:
    """A row by its profile."""
    return Model(
        id="m",
        pool=provider,
        provider=provider,
        upstream=upstream,
        context=200_000,
        max_output=8_192,
        capabilities=profiled(provider, upstream),
    )


def sent(row: Model, body: dict[str, Any], **more: Any) -> list[bytes]:
    """The bodies that leave for the provider."""
    exchanges = family(row.family).open(job(body, model="m", upstream=row.upstream, **more), row, {})
    return [one.request(ACCOUNT).body for one in exchanges]


@pytest.mark.parametrize("upstream", OPENAI)
def test_openai_is_never_written_a_limit_that_it_refuses(upstream):
    """From GPT-5 and o1 on, every body with a limit holds max_completion_tokens alone; beside it only the default tier is written."""
    row = model("openai", upstream)
    for name, option in OPTIONS.items():
        for write_limit in (False, True):
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **option}
            (raw,) = sent(row, body, limit=40, write_limit=write_limit)
            leaves = json.loads(raw)
            said = {key for key in LIMITS if leaves.get(key) is not None}
            asked = {key for key in LIMITS if body.get(key) is not None}
            if OPENAI[upstream][0] == NEW:
                assert said == ({NEW} if asked or write_limit else set()), (name, leaves)
            else:
                assert said == ({OLD} if write_limit else asked), (name, leaves)
            rest = {key: value for key, value in body.items() if key not in LIMITS}
            assert {key: value for key, value in leaves.items() if key not in LIMITS} == rest | {
                "model": upstream,
                "service_tier": "default",
            }


@pytest.mark.parametrize("upstream", OPENAI)
def test_an_emulated_completion_is_written_the_same_limit(upstream):
    """A legacy completion becomes a chat whose limit has the model's own name, and no option that its caller left out."""
    row = model("openai", upstream)
    for option in ({}, {"max_tokens": 5}, {"temperature": 0.5}, {"stop": "x"}, {"logprobs": 2}):
        body = {"model": "m", "prompt": ["a", "b"], **option}
        assert refuse(row, COMPLETIONS, json.dumps(body).encode()) is None
        for raw in sent(row, body, dialect=COMPLETIONS, limit=5, write_limit=True, choices=2):
            leaves = json.loads(raw)
            assert leaves.keys() & LIMITS == {OPENAI[upstream][0]}
            assert leaves.keys() <= {"model", "messages", "service_tier", *LIMITS, *option, "top_logprobs"}


@pytest.mark.parametrize(("provider", "upstream"), TRANSLATED)
def test_a_translated_body_is_valid_or_was_refused(provider, upstream):
    """Each option is the caller's 400 that names a parameter, or becomes a body that the model takes."""
    row = model(provider, upstream)
    served = 0
    for name, option in OPTIONS.items():
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **option}
        error = refuse(row, CHAT, json.dumps(body).encode())
        if error is not None:
            assert error.status == 400
            assert error.param
            continue
        for raw in sent(row, body, limit=8_000):
            try:
                CHECKS[provider](raw, row)
            except Exception as wrong:
                raise AssertionError(f"{name}: {raw!r}") from wrong
        served += 1
    assert served > len(OPTIONS) // 3


@pytest.mark.parametrize("effort", ["none", "low"])
def test_off_is_said_in_the_models_own_word(effort):
    """Sonnet 5.5 reasons at most between calls of tools when told not to; others switch it off."""
    for upstream, word in (("claude-sonnet-5-5", "between_tools"), ("claude-opus-4-8", "disabled")):
        for provider, name in (("anthropic", upstream), ("bedrock", f"anthropic.{upstream}-v1:0")):
            body = {"messages": [{"role": "user", "content": "hi"}], "reasoning_effort": effort}
            (raw,) = sent(model(provider, name), {"model": "m", **body})
            decoded = json.loads(raw)
            thinking = decoded.get("additionalModelRequestFields", decoded)["thinking"]
            assert thinking.pop("display", "summarized") == "summarized"
            assert thinking == {"type": word if effort == "none" else "adaptive"}
