"""Owns what an upstream receives against what the caller sent, over the whole path."""

import json
import re
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.catalogue.forwarded import Forwarded
from schemas.chat import kinds
from schemas.chat.forms import CHAT_FORMS
from tests.fakes.tokn import Tokn
from tests.fakes.upstream import pool_toml

pytestmark = pytest.mark.system

# What docs/providers/openai.md lets the gateway write, or take away.
WRITTEN = {"model", "stream_options", "max_tokens", "max_completion_tokens"}
PRICED = WRITTEN | {"n", "best_of", "messages", "prompt", "stream", "tools", "functions", "usage", "x_script"}
# Fields whose form the gateway may judge: a random value in one of them is rightly a 400.
JUDGED = {"response_format", "modalities", "audio", "prediction", "web_search_options", "moderation", "store"}
JUDGED |= {"models", "service_tier", "prompt_cache_options"}
# Those that this pool forwards beside the list: names are the operator's, whatever is in them.
OWN = ("x_new", "h\u00e9 \U0001f600", 'a"b\\c')
LISTED = {*Forwarded().fields(chat=True), *OWN, "x_script"}
# Those that are objects of listed names: of anything else in them nothing arrives.
INNER = CHAT_FORMS.keys() - {"messages"}
NAMES = sorted(LISTED - PRICED - JUDGED - INNER)

_spaces = st.sampled_from(["", " ", "\n", "\t ", "\r\n"])
_numbers = st.one_of(
    st.integers().map(str),
    st.sampled_from(
        ["1.0000000000000000000001", "0.1e-7", "-0.0", "1E400", "12345678901234567890123.5", "1e0"]
    ),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:f}"),
)
_strings = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=12).map(json.dumps),
    st.text(st.characters(codec="utf-8"), max_size=12).map(lambda text: json.dumps(text, ensure_ascii=False)),
)
_leaves = st.one_of(_numbers, _strings, st.sampled_from(["null", "true", "false"]))


def _array(items: list[tuple[str, str]]) -> str:
    return "[" + ",".join(f"{space}{item}{space}" for space, item in items) + "]"


def _object(fields: list[tuple[str, str, str]]) -> str:
    return "{" + ",".join(f"{space}{name}{space}:{value}" for space, name, value in fields) + "}"


# JSON as text, so that spaces, escapes and every digit of a number are the test's own.
def _arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(_spaces, inner), max_size=4).map(_array)


def _objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(_spaces, _strings, inner), max_size=4).map(_object)


_values = st.recursive(_leaves, lambda inner: st.one_of(_arrays(inner), _objects(inner)), max_leaves=12)
_deep = st.integers(min_value=50, max_value=400).map(lambda depth: "[" * depth + "]" * depth)
_lists = st.one_of(_arrays(_values), _deep)
_of_kind = {kinds.TEXT: _strings, kinds.NUMBER: _numbers, kinds.FLAG: st.sampled_from(["true", "false"])}
_of_kind |= {kinds.LIST: _lists, kinds.OBJECT: _objects(_values)}


def _field(name: str) -> st.SearchStrategy[tuple[str, str]]:
    """A field with any value of a kind that it takes: another is the gateway's 400."""
    taken = kinds.CHAT_KINDS.get(name)
    fitting = [_values, _deep] if taken is None else [st.just("null")]
    fitting += [values for kind, values in _of_kind.items() if taken is not None and kind in taken]
    return st.tuples(st.just(name), st.one_of(fitting))


# None is a plain call; else the text of a stream's options, empty for none.
_options = st.sampled_from([None, "", "null", "{}", '{"new_one": 1.50}'])
_fields = st.lists(st.sampled_from(NAMES).flatmap(_field), max_size=6, unique_by=lambda field: field[0])

_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def compact(value: bytes) -> bytes:
    """JSON without white space between its values, which does not go on."""
    return msgspec.json.format(value, indent=-1)


def body_of(fields: list[tuple[str, str]]) -> bytes:
    """A body with these fields, in this order, as they are."""
    text = ",".join(f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in fields)
    return ("{" + text + "}").encode()


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """`tokn up` with a row that says that its upstream stops at `max_output` by itself, so that no limit is written."""
    config = pool_toml(upstream.base_url, more="[models.capabilities]\nneeds_limit = false\n")
    config = config.replace('"x_scripts"', ", ".join(json.dumps(name, ensure_ascii=False) for name in OWN))
    with Tokn(tmp_path_factory.mktemp("fidelity") / "data", config) as running:
        yield running


@pytest.fixture(scope="module")
def client(tokn):
    """A connection with the deployment's key."""
    headers = {"Authorization": f"Bearer {tokn.key}", "Content-Type": "application/json"}
    with httpx.Client(base_url=tokn.url, headers=headers, timeout=60) as opened:
        yield opened


def received(upstream, client, body: bytes) -> dict[str, Any]:
    """The top level of what the upstream got for a body, values as raw bytes."""
    upstream.calls.clear()
    answer = client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 200, (answer.text, body)
    (only,) = upstream.calls
    return {name: bytes(value) for name, value in _raw(only.body).items()}


@given(fields=_fields, options=_options)
def test_upstream_receives_what_the_caller_sent(upstream, client, fields, options):
    """Every value arrives byte for byte but for white space, and in order; the model and a stream's options are written."""
    sent = [("model", '"priced"'), ("messages", '[{"role":"user","content":"h\\u00e9llo 😀"}]'), *fields]
    if options is not None:
        sent.append(("stream", "true"))
        if options:
            sent.append(("stream_options", options))
    got = received(upstream, client, body_of(sent))
    wanted = {name: compact(value.encode()) for name, value in sent}
    wanted["model"] = b'"priced-upstream"'
    if options is not None:
        read = json.loads(got["stream_options"])
        assert read.pop("include_usage") is True
        assert read.keys() <= {"include_obfuscation"}
        wanted["stream_options"] = got["stream_options"]
    assert got == wanted
    assert list(got)[: len(wanted)] == list(wanted)


@settings(max_examples=40)
@given(
    name=st.text(st.characters(codec="utf-8"), max_size=10).filter(lambda name: name not in LISTED),
    stream=st.booleans(),
)
@example(name="x_scripts", stream=False)
@example(name="X_new", stream=True)
@example(name="maxTokens", stream=False)
@example(name="reasoning", stream=False)
@example(name="prompt", stream=False)
@example(name="best_of", stream=False)
def test_no_field_that_no_list_has_reaches_an_upstream(upstream, client, name, stream):
    """A name that neither the preset nor the pool lists is OpenAI's 400, plain and streamed, and no call is made."""
    upstream.calls.clear()
    body = {"model": "priced", "messages": [{"role": "user", "content": "a"}], "stream": stream, name: 1}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400, (answer.text, body)
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", name[:256])
    assert error["code"] == "unknown_parameter"
    assert upstream.calls == []


@pytest.mark.parametrize("place", ["n", "messages[0].content", "stream_options.include_usage"])
def test_a_name_that_is_there_twice_reaches_no_upstream(tokn, upstream, client, place):
    """One server reads the first of two values and another the last: whichever it is, nothing is sent."""
    upstream.calls.clear()
    name = place.rpartition(".")[2]
    body = json.dumps(
        {"model": "priced", "messages": [{"role": "user", "content": "a"}], "n": 1, "stream": True}
        | {"stream_options": {"include_usage": False}}
    ).replace(f'"{name}": ', f'"{name}": null, "{name}": ')
    answer = client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == place
    assert upstream.calls == []


def test_what_is_left_out_is_named(tokn, upstream, client):
    """What stands inside a message, a part, a tool or a stream's options and is in no list: the call goes on without it."""
    body = {
        "model": "priced",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", "images": ["b"]}], "images": ["b"]}
        ],
        "tools": [{"type": "function", "function": {"name": "f", "server_url": "c"}}],
        "stream": True,
        "stream_options": {"new_one": 1},
    }
    upstream.calls.clear()
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert set(answer.headers["x-tokn-ignored"].split(",")) == {
        "messages[0].images",
        "messages[0].content[0].images",
        "tools[0].function.server_url",
        "stream_options.new_one",
    }
    (only,) = upstream.calls
    assert not {b"images", b"server_url", b"new_one"} & set(re.findall(rb"\w+", only.body))


def test_nothing_of_the_caller_but_the_body_reaches_the_upstream(tokn, upstream, client):
    """The caller's key, cookies, addresses and own headers stay in the gateway."""
    upstream.calls.clear()
    client.post(
        "/v1/chat/completions",
        json={"model": "priced", "messages": [{"role": "user", "content": "a"}]},
        headers={"Cookie": "canary-cookie", "X-Forwarded-For": "192.0.2.7", "X-Canary": "canary-header"},
    )
    (only,) = upstream.calls
    text = "\n".join(f"{name}: {value}" for name, value in only.headers.items())
    for word in (tokn.key, "canary-cookie", "192.0.2.7", "canary-header"):
        assert word not in text
