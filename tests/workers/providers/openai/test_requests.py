"""Requests to compatible servers: what they would refuse is not sent, and a refusal of it is met once."""

import json
from typing import Any

import pytest

from runtime.settings.settings import AccountSettings
from schemas.catalogue.model import Capabilities
from schemas.catalogue.regions import is_openai
from schemas.chat.request import COMPLETIONS
from tests.fakes.worker import job, model
from workers.providers.base import Yielding
from workers.providers.openai.exchange import OpenAIExchange
from workers.providers.openai.family import OpenAI
from workers.providers.openai.requests import REFUSALS_MAX, Refusals

OWN = AccountSettings(id="own", base_url="", api_key="k")
OTHER = AccountSettings(id="other", base_url="http://up/v1", api_key="k")
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
MARK = {"type": "ephemeral"}
REFUSAL = b'{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs"}]}'


def opened(body: dict[str, Any], family: OpenAI | None = None, **more: Any) -> OpenAIExchange:
    """The exchange of a job with this body."""
    row = model(capabilities=more.pop("able", Capabilities()))
    made = (family or OpenAI()).open(job(body, **more), row, {})[0]
    assert isinstance(made, OpenAIExchange)
    return made


def sent(body: dict[str, Any], account: AccountSettings = OTHER, **more: Any) -> dict[str, Any]:
    """What goes up."""
    return dict(json.loads(opened(body, **more).request(account).body))


@pytest.mark.parametrize(
    ("base_url", "own"),
    [
        ("", True),
        ("https://api.openai.com/v1", True),
        ("https://API.OpenAI.com/v1/", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://api.openai.com.example.org/v1", False),
        ("https://example.org/api.openai.com/v1", False),
        ("https://notapi.openai.com/v1", False),
        ("https://x.openai.azure.com/openai/v1", False),
        ("http://127.0.0.1:8000/v1", False),
    ],
)
def test_hosts(base_url: str, own: bool) -> None:
    """OpenAI's own host is known by its name alone, in any region; every other server is a compatible one."""
    assert is_openai(base_url) is own


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("asked", ["max_tokens", "max_completion_tokens"])
def test_a_limit_goes_under_the_rows_own_name(name: str, asked: str) -> None:
    """A compatible server may know one name only: the row says which. At OpenAI's own host the caller's stays."""
    able = Capabilities(limit_field=name)
    got = sent(ASKED | {asked: 50}, able=able, limit=50)
    assert {key: value for key, value in got.items() if "tokens" in key} == {name: 50}
    if name == "max_tokens":
        got = sent(ASKED | {asked: 50}, OWN, able=able, limit=50)
        assert {key: value for key, value in got.items() if "tokens" in key} == {asked: 50}


def test_no_limit_is_made_up() -> None:
    """Where the caller set none, none is sent; null is none; of two the one that was priced goes on."""
    assert sent(ASKED) == ASKED | {"model": "up-m"}
    assert "max_tokens" not in sent(ASKED | {"max_completion_tokens": None})
    both = sent(ASKED | {"max_tokens": 20, "max_completion_tokens": 50}, limit=50)
    assert {key: value for key, value in both.items() if "tokens" in key} == {"max_tokens": 50}


def test_a_legacy_limit_keeps_its_only_name() -> None:
    """/v1/completions knows `max_tokens` alone, whatever the row calls the limit of a chat."""
    able = Capabilities(completions=True, limit_field="max_completion_tokens")
    body = {"model": "m", "prompt": "x", "max_tokens": 9}
    assert sent(body, dialect=COMPLETIONS, limit=9, able=able)["max_tokens"] == 9


def test_cache_marks_go_only_where_they_mean_something() -> None:
    """Marks are taken off messages, parts and tools, and nothing else of that name: not out of a schema or a text."""
    schema = {"type": "object", "properties": {"cache_control": {"type": "string", "x": 1.50}}}
    part = {"type": "text", "text": 'say "cache_control"'}
    body = {
        "model": "m",
        "cache_control": MARK,
        "messages": [
            {"role": "system", "content": "s", "cache_control": MARK},
            {"role": "user", "content": [part | {"cache_control": MARK}, part]},
            {"role": "user", "content": 'the word "cache_control" alone'},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": schema}, "cache_control": MARK},
            {"type": "function", "function": {"name": "g", "parameters": schema, "cache_control": MARK}},
        ],
    }
    assert sent(body) == {
        "model": "up-m",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [part, part]},
            body["messages"][2],
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": schema}},
            {"type": "function", "function": {"name": "g", "parameters": schema}},
        ],
    }
    assert sent(body, able=Capabilities(cache_points=4)) == body | {"model": "up-m"}
    assert sent(body, OWN) == body | {"model": "up-m", "service_tier": "default"}


def test_other_fields_travel_byte_for_byte() -> None:
    """Whatever is mended, every other value goes up as the bytes that the caller wrote."""
    body = b'{"model":"m","messages":[{"role":"user","content":"\\u00e9", "x": 1.50}],"max_tokens":7,"y":{ "a":1e0}}'
    able = Capabilities(limit_field="max_completion_tokens")
    made = OpenAI().open(job(body, limit=7), model(capabilities=able), {})[0].request(OTHER)
    assert b'"messages":[{"role":"user","content":"\\u00e9", "x": 1.50}]' in made.body
    assert b'"y":{ "a":1e0}' in made.body


@pytest.mark.parametrize("status", [400, 422])
def test_stream_options_refused_are_left_out_from_then_on(status: int) -> None:
    """The same call goes once more without them; once it was taken, later calls of that account leave them out."""
    family = OpenAI()
    body = ASKED | {"stream": True, "stream_options": {"include_usage": True}}
    first = opened(body, family)
    assert isinstance(first, Yielding)
    assert "stream_options" in json.loads(first.request(OTHER).body)
    again = first.without(status, REFUSAL)
    assert again is not None
    assert json.loads(again.body) == {k: v for k, v in body.items() if k != "stream_options"} | {
        "model": "up-m"
    }
    assert first.without(status, REFUSAL) is None, "never twice"
    assert "stream_options" in json.loads(opened(body, family).request(OTHER).body), "not taken yet"
    first.taken()
    later = opened(body, family)
    assert "stream_options" not in json.loads(later.request(OTHER).body)
    assert later.without(status, REFUSAL) is None
    another = AccountSettings(id="third", base_url="http://up/v1", api_key="k")
    assert "stream_options" in json.loads(opened(body, family).request(another).body)


@pytest.mark.parametrize("more", [{"include_obfuscation": False}, {"x": 1}])
def test_what_a_caller_adds_to_stream_options_is_blamed_first(more: dict[str, Any]) -> None:
    """A refusal of it costs that caller its addition, and teaches nothing of the account that others' calls go to."""
    family = OpenAI()
    first = opened(ASKED | {"stream": True, "stream_options": {"include_usage": True} | more}, family)
    assert json.loads(first.request(OTHER).body)["stream_options"] == {"include_usage": True} | more
    again = first.without(400, REFUSAL)
    assert again is not None
    assert json.loads(again.body)["stream_options"] == {"include_usage": True}
    first.taken()
    later = opened(ASKED | {"stream": True}, family)
    assert "stream_options" in json.loads(later.request(OTHER).body)


@pytest.mark.parametrize(
    ("account", "stream", "status", "body"),
    [
        (OTHER, True, 400, b'{"error":{"message":"bad temperature"}}'),
        (OTHER, True, 500, REFUSAL),
        (OTHER, True, 429, REFUSAL),
        (OTHER, False, 400, REFUSAL),
        (OWN, True, 400, REFUSAL),
    ],
)
def test_other_refusals_stand(account: AccountSettings, stream: bool, status: int, body: bytes) -> None:
    """Another error, another status, a plain call, OpenAI's own host: the call is not made again."""
    made = opened(ASKED | {"stream": stream})
    made.request(account)
    assert made.without(status, body) is None


def test_remembered_refusals_are_bounded() -> None:
    """Of more accounts than the bound the newest are remembered."""
    refusals = Refusals()
    for number in range(REFUSALS_MAX + 5):
        refusals.add(str(number))
    assert not refusals.has("4")
    assert refusals.has("5")
    assert refusals.has(str(REFUSALS_MAX + 4))
