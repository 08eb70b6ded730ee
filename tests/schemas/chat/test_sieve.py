"""The objects inside a body, held to lists of names: what is unlisted is left out and named, what is doubtful refused."""

import json
import time
from typing import Any

import pytest
from msgspec import Raw
from msgspec import json as msgjson

from schemas.chat import priced
from schemas.chat.forms import CHAT_FORMS
from schemas.chat.priced import RequestError
from schemas.chat.sieve import LEVELS_MAX, NAMED_MAX, OBJECTS_MAX, Names, Typed, sifted
from schemas.names import LONG_BYTES, TOLD_BYTES_MAX, any_meant, by_fold, meant

SPEECH = {"role": "user", "content": "hi"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
SERVED: list[Any] = [
    {"messages": [SPEECH, {"role": "user", "content": [{"type": "text", "text": "a"}, PICTURE]}]},
    {"messages": [{"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]},
    {"messages": [SPEECH], "tools": [{"type": "function", "function": {"name": "f", "parameters": {
        "type": "object", "properties": {"Max_Tokens": {"type": "string", "images": 1}}}}}]},
    {"messages": [SPEECH], "metadata": {"n": "1", "N": "2"}, "logit_bias": {"5": 1}, "stop": ["a"]},
    {"messages": "none", "tools": None, "response_format": 5, "stream_options": None, "prompt": [[1], [2]]},
]  # fmt: skip


def sift(body: dict[str, Any] | str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What goes on of a body, and what was left out."""
    raw = body if isinstance(body, str) else json.dumps({"model": "m"} | body)
    fields = priced.decode(raw.encode())
    dropped = sifted(fields, CHAT_FORMS)
    return json.loads(msgjson.encode(fields)), dropped


def refused(body: dict[str, Any] | str) -> tuple[str | None, str | None]:
    """The field that is named and the code of a refusal, which is a 400."""
    with pytest.raises(RequestError) as raised:
        sift(body)
    assert raised.value.error.status == 400
    return raised.value.error.param, raised.value.error.code


@pytest.mark.parametrize("body", SERVED)
def test_what_is_listed_stays_byte_for_byte(body):
    """So does what stands where any name is only text, and what is no object."""
    raw = json.dumps({"model": "m"} | body, separators=(",", ":"), ensure_ascii=False).encode()
    fields = priced.decode(raw)
    assert sifted(fields, CHAT_FORMS) == ()
    assert msgjson.encode(fields) == raw


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"messages": [SPEECH, SPEECH | {"images": ["x"]}]}, "messages[1].images"),
        ({"messages": [{"role": "user", "content": [PICTURE | {"file_id": "x"}]}]}, "messages[0].content[0].file_id"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "image_url": {"url": "x"}}]}]},
         "messages[0].content[0].image_url"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "index": 0}]}]}, "messages[0].tool_calls[0].index"),
        ({"messages": [SPEECH], "tools": [{"type": "function", "google_search": {}}]}, "tools[0].google_search"),
        ({"messages": [SPEECH], "tools": [{"type": "function", "function": {"url": "x"}}]}, "tools[0].function.url"),
        ({"messages": [SPEECH], "stream_options": {"continuous_usage_stats": True}}, "stream_options.continuous_usage_stats"),
        ({"messages": [SPEECH], "response_format": {"type": "text", "plugins": [1]}}, "response_format.plugins"),
        ({"messages": ["a", SPEECH | {"images": [1]}]}, "messages[1].images"),
    ],
)  # fmt: skip
def test_what_is_unlisted_is_left_out_and_named(body, place):
    """At any depth; the rest goes on as it was."""
    made, dropped = sift(body)
    assert dropped == (place,)
    name = place.rpartition(".")[2]
    assert json.dumps(made) == json.dumps({"model": "m"} | body).replace(
        json.dumps({name: _value(body, name)})[1:-1], ""
    ).replace(", }", "}").replace("{, ", "{")


def _value(body: Any, name: str) -> Any:
    """The unlisted value under a name that is in a body once, or last."""
    found = []
    stack = [body]
    while stack:
        one = stack.pop()
        if isinstance(one, dict) and name in one:
            found.append(one[name])
        stack += list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
    return found[0]


def test_null_is_absent():
    """What says nothing is left out without a word."""
    made, dropped = sift({"messages": [SPEECH | {"images": None, "parsed": None}]})
    assert (made["messages"], dropped) == ([SPEECH], ())


@pytest.mark.parametrize(
    ("inner", "place"),
    [
        ('{"role":"user","content":"a","content":"b"}', "messages[0].content"),
        ('{"role":"user","content":"a","Content":"b"}', "messages[0].Content"),
        ('{"role":"user","content":"a","\\u0063ontent":"b"}', "messages[0].content"),
        ('{"role":"user","content":"a","tool-call-id":"b"}', "messages[0].tool-call-id"),
        ('{"role":"user","content":"a","toolCallId":"b"}', "messages[0].toolCallId"),
        ('{"role":"user","content":"a","to\u017fol_call_id":"b","x":"x","x":"y"}', "messages[0].x"),
        ('{"role":"user","content":[{"type":"text","text":"a","TEXT":"b"}]}', "messages[0].content[0].TEXT"),
        ('{"content":[{"type":"image_url","image_url":{"url":"a","url":"b"}}]}', "messages[0].content[0].image_url.url"),
        ('{"content":[{"type":"image_url","image_url":{"url":"a","\u212aey":1,"Url":"b"}}]}',
         "messages[0].content[0].image_url.Url"),
        ('{"content":{"type":"text"}}', "messages[0].content"),
        ('{"content":[[{"type":"text"}]]}', "messages[0].content[0]"),
        ('{"content":[{"type":"image_url","image_url":["a"]}]}', "messages[0].content[0].image_url"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("blanks", ["", " \n"])
def test_what_readers_read_differently_is_refused(inner, place, blanks):
    """A name twice, a listed one in other letters, one thing in place of many: the 400 says where."""
    spaced = inner.replace('":', f'"{blanks}:{blanks}').replace("{", "{" + blanks)
    body = '{"model":"m","messages":[' + spaced + "]}"
    assert refused(body)[0] == place


def test_an_escaped_name_is_written_plain():
    """A name with escapes in it is the same name, and some reader might not know."""
    fields = priced.decode(b'{"m\\u006fdel":"m","messages":[{"r\\u006fle":"user","content":"\\u0061"}]}')
    assert sifted(fields, CHAT_FORMS) == ()
    assert msgjson.encode(fields) == b'{"model":"m","messages":[{"role":"user","content":"\\u0061"}]}'


def test_long_values_hide_nothing():
    """What is long is measured in place of being written again: a name twice is found there too, though not which."""
    long = "x" * (2 * LONG_BYTES)
    assert sift({"messages": [{"role": "user", "content": long}] * 2})[1] == ()
    for size, place in ((TOLD_BYTES_MAX - 200, "messages[0].content"), (len(long), "messages[0]")):
        text = long[:size]
        for first, second in (("x", text), (text, "x")):
            body = f'{{"model":"m","messages":[{{"content":"{first}","role":"user","content":"{second}"}}]}}'
            assert refused(body)[0] == place
    twice = f'{{"model":"m","n":1,"messages":"{long}","n":1}}'
    assert refused(twice)[0] is None
    odd = {"messages": [{"role": "user", "content": long, "\u00e9": 1}]}
    assert sift(json.dumps(odd | {"model": "m"}, ensure_ascii=False))[1] == ("messages[0].\u00e9",)


def test_depth_and_numbers_are_bounded():
    """Too deep, or too many: a 400. Of what is left out so many places are told, each cut."""
    nested: dict[str, Any] = {"in": None}
    nested["in"] = [nested]
    deep: Any = {"in": 1}
    for _ in range(LEVELS_MAX + 1):
        deep = {"in": [deep]}
    with pytest.raises(RequestError):
        sifted({"in": Raw(json.dumps([deep]).encode())}, nested)
    assert refused({"messages": [{}] * (OBJECTS_MAX + 1)})[0] == "messages"
    _, dropped = sift({"messages": [{"x" * 5_000: 1}] * 200})
    assert len(dropped) == NAMED_MAX
    assert max(map(len, dropped)) < 100


def test_names_depend_on_the_type_where_a_form_says_so():
    """Of an unknown type, of none, and of one that is no text, what is listed for the others."""
    form: Names = {"a": [Typed({"x": {"type": None, "of_x": None}}, {"type": None})]}
    for kind, kept in (('"x"', True), ('"\\u0078"', True), ('"y"', False), ("5", False), ("[]", False)):
        fields = {"a": Raw(f'[{{"type":{kind},"of_x":1}}]'.encode())}
        assert bool(sifted(fields, form)) is not kept


def test_a_large_conversation_takes_little():
    """A second of CPU would be seen by others: ten thousand messages with parts and calls take a part of one."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "tool_calls": [call]},
    ]
    fields = priced.decode(json.dumps({"model": "m", "messages": turn * 5_000}).encode())
    began = time.thread_time()
    assert sifted(fields, CHAT_FORMS) == ()
    assert time.thread_time() - began < 1


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["other", "more"], False),
        (["other", "Max_Tokens"], True),
        (["max-tokens"], True),
        (["max", "tokens"], False),
        (["max\ntokens"], True),
        (["a\nb"], True),  # not told apart from two names: it is looked at by itself
        (["maxtokens\u0130"], False),
    ],
)
def test_many_names_are_looked_at_together(names: list[str], found: bool) -> None:
    """No name that is taken for a known one is overlooked, whatever stands in it."""
    folds = by_fold(["max_tokens"])
    assert any_meant(names, folds) is found
    assert found or not any(meant(name, (), folds) for name in names)
