"""Quirks of vendors, done to requests: each in all its forms, and nothing else of a body changed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec import json as msgjson

from runtime.catalogue.presets import presets
from runtime.catalogue.quirks import OPENAI_ONLY, Quirks
from runtime.settings.settings import AccountSettings
from tests.fakes.worker import job, model
from workers.providers.openai.family import OpenAI
from workers.providers.openai.quirks import suit

PLAIN = Quirks()
ALL = Quirks(
    unsaid={"n": 1, "logprobs": False, "tool_choice": "auto"},
    rename={"seed": "random_seed"},
    drop_said=("refusal",),
    reasoning="reasoning_content",
    call_id_chars=9,
    strict_tools=False,
)
CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def suited(body: dict[str, Any] | bytes, quirks: Quirks = ALL) -> dict[str, Any]:
    """What a vendor with these quirks gets."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = msgjson.decode(raw, type=dict[str, Raw])
    suit(fields, quirks)
    return dict(json.loads(msgjson.encode(fields)))


def messages(*given: dict[str, Any], quirks: Quirks = ALL) -> list[dict[str, Any]]:
    """What becomes of messages."""
    return list(suited({"messages": list(given)}, quirks)["messages"])


@pytest.mark.parametrize(
    ("value", "sent"),
    [(1, False), (1.0, False), (None, False), (2, True), (True, True), ("1", True), ([1], True), (0, True)],
)
def test_a_default_is_not_said(value: Any, sent: bool) -> None:
    """What says no more than the default is left out, however it is written; anything else is the caller's own word."""
    assert ("n" in suited({"n": value})) is sent


@pytest.mark.parametrize("value", [False, None, "auto", 0, True])
def test_false_is_no_zero(value: Any) -> None:
    """A default that is false is met by false alone, and one that is a text by that text."""
    assert ("logprobs" in suited({"logprobs": value})) is (value is not False and value is not None)
    assert ("tool_choice" in suited({"tool_choice": value})) is (value not in ("auto", None))


def test_what_only_openai_knows_is_never_sent() -> None:
    """Whatever the vendor; other fields stay, though nobody here knows them."""
    body = dict.fromkeys(OPENAI_ONLY, "x") | {"top_k": 4, "messages": []}
    assert suited(body, PLAIN) == {"top_k": 4, "messages": []}


def test_a_developer_message_is_a_system_message() -> None:
    """By its role only: the word in a text stays."""
    told = {"role": "user", "content": '"role": "developer"'}
    assert messages({"role": "developer", "content": "x"}, told, quirks=PLAIN) == [
        {"role": "system", "content": "x"},
        told,
    ]


def test_strict_goes_from_functions_only() -> None:
    """A parameter that is called so is the caller's; a tool that is no function too."""
    schema = {"type": "object", "properties": {"strict": {"type": "boolean"}}}
    function = {"name": "f", "parameters": schema}
    custom = {"type": "custom", "custom": {"name": "c", "strict": True}}
    tools = [{"type": "function", "function": function | {"strict": True}}, custom, "odd"]
    assert suited({"tools": tools})["tools"] == [{"type": "function", "function": function}, custom, "odd"]
    assert suited({"tools": tools}, PLAIN)["tools"] == tools


@pytest.mark.parametrize(
    ("said", "brought"),
    [
        ({}, ""),
        ({"reasoning_content": None}, ""),
        ({"reasoning_content": "hm"}, "hm"),
        ({"reasoning": "hm"}, "hm"),
        ({"reasoning": None}, ""),
        ({"reasoning": {"odd": 1}}, ""),
    ],
)
def test_reasoning_comes_back_beside_calls(said: dict[str, Any], brought: str) -> None:
    """A message with calls has its reasoning under the vendor's name, or an empty one; a message without stays."""
    (told,) = messages({"role": "assistant", "content": None, "tool_calls": [CALL], **said})
    assert told["reasoning_content"] == brought
    assert messages({"role": "assistant", "content": "x", "tool_calls": []}) == [
        {"role": "assistant", "content": "x", "tool_calls": []}
    ]


def test_ids_of_calls_are_spelt_as_the_vendor_takes_them() -> None:
    """Each result finds its call, an id that fits stays, and the same history gives the same ids in every call."""
    ids = ["call_1", "call_2", "a" * 64, "abcDEF123", "é", ""]
    given = [{"role": "assistant", "tool_calls": [CALL | {"id": one} for one in ids]}]
    given += [{"role": "tool", "tool_call_id": one, "content": "x"} for one in reversed(ids)]
    told = messages(*given)
    spelt = [call["id"] for call in told[0]["tool_calls"]]
    assert [one["tool_call_id"] for one in told[1:]] == spelt[::-1]
    assert all(len(one) == 9 and one.isascii() and one.isalnum() for one in spelt)
    assert len(set(spelt)) == len(ids)
    assert spelt[3] == "abcDEF123"
    assert messages(*given) == told


def test_fields_of_an_assistants_message_are_its_own() -> None:
    """Of other messages, and deeper within, a field of that name stays."""
    told = {"role": "user", "content": [{"type": "text", "text": "x", "refusal": 1}], "refusal": "y"}
    assert messages({"role": "assistant", "content": "x", "refusal": None}, told) == [
        {"role": "assistant", "content": "x"},
        told,
    ]


@pytest.mark.parametrize("name", ["messages", "tools", "n", "tool_choice"])
@pytest.mark.parametrize(
    "odd",
    [
        b'"x"',
        b"null",
        b"{}",
        b"[1, null, []]",
        b'[{"role":"assistant","tool_calls":"developer"}]',
        b'[{"role":"assistant","tool_calls":[1,{"id":7},{"id":null}]}]',
        b'[{"role":"tool","tool_call_id":["tool_call"]}]',
        b'[{"function":[],"strict":1},{"function":{"strict":1}}]',
        b"[" * 500 + b"]" * 500,
    ],
)
def test_odd_shapes_are_left_to_the_server(name: str, odd: bytes) -> None:
    """What is no message, call or tool is passed on, and breaks nothing."""
    fields = {name: Raw(odd), "a": Raw(b"1.50")}
    suit(fields, ALL)
    assert bytes(fields["a"]) == b"1.50"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["top_k", "messages", "stop", "tools"]), JSON_VALUES))
def test_what_is_no_quirk_stays(body: dict[str, Any]) -> None:
    """Any body without a quirk's sign comes out as it went in, byte for byte."""
    fields = {name: Raw(msgjson.encode(value)) for name, value in body.items()}
    before = {name: bytes(raw) for name, raw in fields.items()}
    suit(fields, PLAIN)
    assert {name: bytes(raw) for name, raw in fields.items()} == before


def test_quirks_are_a_vendors_wherever_it_is_and_nobody_elses() -> None:
    """A pool of a preset has its quirks at any address; one of OpenAI's preset has none, at any address."""
    body = {"model": "m", "messages": [{"role": "developer", "content": "x"}], "store": True}
    account = AccountSettings(id="a", base_url="http://up/v1", api_key="k")
    for preset in presets().values():
        if preset.family != "openai":
            continue
        (made,) = OpenAI().open(job(body), model(provider=preset.name), {})
        sent = json.loads(made.request(account).body)
        assert ("store" in sent, sent["messages"][0]["role"] == "developer") == (preset.quirks is None,) * 2
