"""Owns what is refused before any money moves, family by family over the whole path, and what is safely ignored."""

from typing import Any

import httpx
import pytest

from tests.fakes.families import PROVIDERS, config, stages
from tests.fakes.tokn import Tokn, wait_for

pytestmark = pytest.mark.system

SAY = [{"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CUSTOM = {"type": "custom", "custom": {"name": "c"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
TRANSLATED = ("anthropic", "gemini", "bedrock", "titan")
MODELS = (*PROVIDERS, "titan")


def user(**part: Any) -> list[dict[str, Any]]:
    """A conversation of one message with one part."""
    return [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]


def image(url: str) -> list[dict[str, Any]]:
    """A conversation with an image."""
    return user(type="image_url", image_url={"url": url})


# What to add to a request, the `param` that the refusal names, and who refuses it.
REFUSED: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "logit_bias": ({"logit_bias": {"5": 1}}, "logit_bias", TRANSLATED),
    "prediction": ({"prediction": {"type": "content", "content": "x"}}, "prediction", TRANSLATED),
    "audio out": ({"modalities": ["text", "audio"]}, "modalities", TRANSLATED),
    "audio": ({"audio": {"format": "wav", "voice": "alloy"}}, "audio", TRANSLATED),
    "functions": ({"functions": [{"name": "f"}]}, "functions", TRANSLATED),
    "web search": ({"web_search_options": {}}, "web_search_options", MODELS),
    "custom tool": ({"tools": [CUSTOM]}, "tools[0].type", ("anthropic", "gemini", "bedrock")),
    "tools": ({"tools": [TOOL]}, "tools", ("titan",)),
    "n": ({"n": 2}, "n", TRANSLATED),
    "logprobs": ({"logprobs": True}, "logprobs", TRANSLATED),
    "top_logprobs": ({"top_logprobs": 3}, "top_logprobs", TRANSLATED),
    "penalty": ({"presence_penalty": 0.5}, "presence_penalty", TRANSLATED),
    "temperature": ({"temperature": 2.5}, "temperature", TRANSLATED),
    "two samplings": ({"temperature": 0.5, "top_p": 0.5}, "top_p", ("anthropic", "bedrock")),
    "tier": ({"service_tier": "flex"}, "service_tier", MODELS),
    "effort": ({"reasoning_effort": "huge"}, "reasoning_effort", TRANSLATED),
    "no effort at all": ({"reasoning_effort": "low"}, "reasoning_effort", ("titan",)),
    "blank stop": ({"stop": ["ok", "\n"]}, "stop[1]", ("anthropic", "bedrock")),
    "stop of its own": ({"stop": "END"}, "stop", ("titan",)),
    "stop count": ({"stop": list("abcdef")}, "stop", ("gemini", "titan")),
    "format": ({"response_format": SCHEMA}, "response_format.type", ("titan",)),
    "choice without tools": ({"tool_choice": "required"}, "tool_choice", TRANSLATED),
    "parallel": (
        {"tools": [TOOL], "parallel_tool_calls": False},
        "parallel_tool_calls",
        ("gemini",),
    ),
    "remote image": (
        {"messages": image("https://example.com/a.png")},
        "messages[0].content[1]",
        TRANSLATED,
    ),
    "not base64": (
        {"messages": image("data:image/png;base64,@@@@")},
        "messages[0].content[1].image_url.url",
        ("anthropic", "gemini", "bedrock"),
    ),
    "image type": (
        {"messages": image("data:image/bmp;base64,AAAA")},
        "messages[0].content[1].image_url.url",
        ("anthropic", "gemini", "bedrock"),
    ),
    "image": ({"messages": image("data:image/png;base64,AAAA")}, "messages[0].content[1]", ("titan",)),
    "sound": (
        {"messages": user(type="input_audio", input_audio={"data": "AAAA", "format": "wav"})},
        "messages[0].content[1]",
        ("openai", "anthropic", "bedrock", "titan"),
    ),
    "bad sound": (
        {"messages": user(type="input_audio", input_audio={"data": "AA", "format": "wav"})},
        "messages[0].content[1].input_audio.data",
        ("gemini",),
    ),
    "file id": (
        {"messages": user(type="file", file={"file_id": "file-1"})},
        "messages[0].content[1]",
        MODELS,
    ),
    "prefill": (
        {"messages": [*SAY, {"role": "assistant", "content": "Sure:"}]},
        "messages",
        ("gemini", "bedrock"),
    ),
    "orphan result": (
        {"messages": [*SAY, {"role": "tool", "tool_call_id": "x", "content": "1"}]},
        "messages[1].tool_call_id",
        ("anthropic", "gemini", "bedrock"),
    ),
}
REFUSALS = [(name, model) for name, (_, _, models) in REFUSED.items() for model in models]
IGNORED: dict[str, Any] = {
    "store": True,
    "metadata": {"a": "b"},
    "seed": 7,
    "verbosity": "low",
    "prompt_cache_key": "k",
    "service_tier": "auto",
    "safety_identifier": "someone@example.com",
    "user": "someone",
    "logprobs": False,
    "n": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "temperature": 1,
    "top_p": 1,
    "stop": None,
    "logit_bias": None,
    "tools": None,
}
LEGACY_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "suffix": ({"suffix": "x"}, "suffix"),
    "best_of": ({"best_of": 2}, "best_of"),
    "logit_bias": ({"logit_bias": {"5": 1}}, "logit_bias"),
    "echoed logprobs": ({"echo": True, "logprobs": 1}, "logprobs"),
    "tokens": ({"prompt": [1, 2]}, "prompt"),
}


@pytest.fixture(scope="module")
def played():
    """One fake of each provider."""
    with stages() as made:
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with all four families."""
    with Tokn(tmp_path_factory.mktemp("refusals") / "data", config(played)) as running:
        yield running


@pytest.fixture(scope="module")
def poor(tokn):
    """A client whose key has no money: what would need a hold is a 402."""
    key = tokn.row("key", "create", "--name", "poor", "--balance", "0")
    with httpx.Client(
        base_url=tokn.url, headers={"Authorization": f"Bearer {key['key']}"}, timeout=60
    ) as client:
        yield client


@pytest.fixture(scope="module")
def http(tokn):
    """A client with money."""
    with httpx.Client(
        base_url=tokn.url, headers={"Authorization": f"Bearer {tokn.key}"}, timeout=60
    ) as client:
        yield client


def reached(played: dict[str, Any]) -> int:
    """How many requests the providers have had."""
    return sum(len(stage.bodies) for (stage,) in played.values())


@pytest.mark.parametrize("model", MODELS)
def test_a_poor_key_is_told_of_money_for_what_could_be_served(played, poor, model):
    """Without the refused parameter the same key gets a 402: so a 400 came before any hold."""
    answer = poor.post("/v1/chat/completions", json={"model": model, "messages": SAY})
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "insufficient_balance")
    assert reached(played) == 0


@pytest.mark.parametrize(("name", "model"), REFUSALS)
def test_what_cannot_be_honoured_is_refused_before_money(played, poor, name, model):
    """A 400 that names the parameter, before any hold, and nothing reaches the provider."""
    more, param, _ = REFUSED[name]
    before = reached(played)
    answer = poor.post("/v1/chat/completions", json={"model": model, "messages": SAY, **more})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error"), error
    assert error["param"] == param, error
    assert error["code"] in ("unsupported_parameter", "unsupported_value", "invalid_value", None), error
    assert reached(played) == before


@pytest.mark.parametrize("model", TRANSLATED)
@pytest.mark.parametrize("name", LEGACY_REFUSED)
def test_completions_that_cannot_be_emulated_are_refused_before_money(played, poor, name, model):
    """The same for legacy completions over chat."""
    more, param = LEGACY_REFUSED[name]
    before = reached(played)
    answer = poor.post("/v1/completions", json={"model": model, "prompt": "hello", **more})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert reached(played) == before


@pytest.mark.parametrize("model", TRANSLATED)
def test_what_is_safe_to_ignore_is_ignored(http, model):
    """Parameters that change nothing, or ask for what the provider does anyway, are no reason for a 400."""
    answer = http.post("/v1/chat/completions", json={"model": model, "messages": SAY, **IGNORED})
    assert answer.status_code == 200, answer.text


def test_nothing_was_held_or_charged(tokn, poor):
    """After all refusals the poor key has neither calls nor holds in the books."""
    (key,) = [row for row in tokn.rows("key", "list") if row["name"] == "poor"]
    assert tokn.rows("usage", "--key", key["id"]) == []
    assert tokn.balance(key["id"])["held_nano"] == 0
    wait_for(lambda: tokn.audit()["open_holds"] == 0, 10, "nothing is held, of other keys' calls neither")
