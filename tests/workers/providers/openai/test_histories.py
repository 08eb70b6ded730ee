"""Histories of elsewhere on their way to OpenAI, and to servers like it: what they would refuse is put right, no more."""

import json
from typing import Any

import pytest

from runtime.settings.settings import AccountSettings
from schemas.chat.toolsets import TOOL_NAME
from schemas.dialects.messages.names import told_id
from schemas.money.pricing import TokenUsage
from schemas.responses.request import RESPONSES
from tests.fakes.dialects import Answer, openai_body, openai_events
from tests.fakes.histories import PNG, Call, History, Result, User, chat, responses
from tests.fakes.openai import chunk, event
from tests.fakes.worker import job, model
from tests.workers.providers.anthropic import cases
from tests.workers.providers.test_foreign_histories import ROWS
from workers.providers.openai.family import OpenAI

OWN = AccountSettings(id="own", base_url="https://api.openai.com/v1", api_key="k")
OTHER = AccountSettings(id="other", base_url="http://up/v1", api_key="k")
GO = User("go")
LONG = "chatcmpl-tool-" + "a" * 32


def exchange(body: dict[str, Any], account: AccountSettings = OWN) -> Any:
    """The exchange of a chat body, asked once."""
    (made,) = OpenAI().open(job(body), model(), {})
    made.request(account)
    return made


def messages(history: History, account: AccountSettings = OWN) -> Any:
    """The messages that a server gets."""
    (made,) = OpenAI().open(job(chat(history)), model(), {})
    return json.loads(made.request(account).body)["messages"]


@pytest.mark.parametrize("account", [OWN, OTHER])
def test_long_ids_are_told_alike_in_call_and_result(account: AccountSettings) -> None:
    """They fit, others stay, and no two become one."""
    other = LONG[:-1] + "b"
    told = messages(
        (GO, Call(LONG, "f"), Call(other, "f"), Call("c", "f"), Result(LONG), Result(other), Result("c")),
        account,
    )
    ids = [call["id"] for call in told[1]["tool_calls"]]
    assert ids == [told_id(LONG), told_id(other), "c"] == [one["tool_call_id"] for one in told[2:]]
    assert len(set(ids)) == 3
    assert all(len(one) <= 40 for one in ids)


def test_pictures_follow_all_results_of_a_turn() -> None:
    """A tool's message has its text; what it showed is the user's, said of which call."""
    told = messages((GO, Call("a", "f"), Call("b", "f"), Result("a", "see", (PNG,)), Result("b"), User("on")))
    assert [one["role"] for one in told] == ["user", "assistant", "tool", "tool", "user", "user"]
    assert told[2]["content"] == [{"type": "text", "text": "see"}]
    assert told[4]["content"][0] == {"type": "text", "text": "Image from tool call a:"}
    assert PNG in told[4]["content"][1]["image_url"]["url"]


@pytest.mark.parametrize("text", ['{"a": "unfini', "[1]", "", '{"a":"\\ud83d"}'])
def test_other_servers_get_arguments_that_they_can_parse(text: str) -> None:
    """Many parse them into a prompt; OpenAI takes any text, and gets the caller's."""
    history = (GO, Call("a", "f", text), Result("a"))
    (mine,) = messages(history)[1]["tool_calls"]
    assert mine["function"]["arguments"] == text
    (call,) = messages(history, OTHER)[1]["tool_calls"]
    assert isinstance(json.loads(call["function"]["arguments"]), dict)


@pytest.mark.parametrize(
    "broken",
    [
        {"messages": [{"role": "tool", "tool_call_id": LONG, "content": 5}, 7]},
        {"messages": {"tool_call_id": LONG}},
        {"messages": [{"role": "assistant", "tool_calls": [5], "x": {"tool_call_id": LONG}}]},
        {"messages": [{"role": "assistant", "tool_calls": "x"}, {"role": "tool", "tool_call_id": 5}]},
        {"messages": [{"role": "tool", "tool_call_id": LONG, "content": [5], "x": {"image_url": 1}}]},
    ],
)
@pytest.mark.parametrize("account", [OWN, OTHER])
def test_what_cannot_be_read_is_the_servers_to_refuse(
    broken: dict[str, Any], account: AccountSettings
) -> None:
    """It goes as it is, or as far as it can be read."""
    (made,) = OpenAI().open(job(broken), model(), {})
    assert made.request(account).body


def test_responses_have_ids_that_fit_and_one_output_a_call() -> None:
    """OpenAI's own dialect goes to it with ids it takes, and the last output of each call."""
    row, _ = ROWS["openai responses"]
    history = (GO, Call("x" * 90, "f"), Result("x" * 90, "old"), Result("x" * 90, "new"), User("on"))
    of = cases.job({}, dialect=RESPONSES, body=json.dumps(responses(history)).encode())
    (made,) = OpenAI().open(of, row, {})
    items = json.loads(made.request(OWN).body)["input"]
    assert [item.get("output") for item in items] == [None, None, "new", None]
    assert items[1]["call_id"] == items[2]["call_id"] == told_id("x" * 90, 64)
    again = (GO, Call("a", "f"), Result("a", "1"), Call("a", "f"), Result("a", "2"))
    of = cases.job({}, dialect=RESPONSES, body=json.dumps(responses(again)).encode())
    (made,) = OpenAI().open(of, row, {})
    assert len(json.loads(made.request(OWN).body)["input"]) == 5


@pytest.mark.parametrize(
    ("text", "finish"), [("{}", "tool_calls"), ("", "tool_calls"), ('{"a', "odd_reason")]
)
def test_a_reason_that_nobody_knows_behind_calls(text: str, finish: str) -> None:
    """Behind calls that are whole it is `tool_calls`, plain or streamed; behind one that is cut it stays."""
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": text}}
    made = exchange(chat((GO,)) | {"stream": True}, OTHER)
    opener = {"role": "assistant", "tool_calls": [call]}
    out = made.feed(event(chunk(opener)) + event(chunk({}, finish="odd_reason")) + b"data: [DONE]\n\n")
    assert f'"finish_reason":"{finish}"' in out.decode()
    if text == '{"a':
        return
    body = json.loads(openai_body(Answer(("x",), TokenUsage(input=1, output=1))))
    body["choices"][0] |= {
        "finish_reason": "odd_reason",
        "message": {"role": "assistant", "tool_calls": [call]},
    }
    told = json.loads(exchange(chat((GO,)), OTHER).answer(json.dumps(body).encode()))
    assert told["choices"][0]["finish_reason"] == "tool_calls"


NAMES = ("a.b", "a b", "x" * 80 + "1", "x" * 80 + "2", "\u00e9", "fine", "1st")
HISTORY = (GO, *(one for at, name in enumerate(NAMES) for one in (Call(f"c{at}", name), Result(f"c{at}"))))


def told_names(request: bytes, *, native: bool) -> list[str]:
    """The names of the tools as OpenAI is told them; it must take each."""
    tools = [tool if native else tool["function"] for tool in json.loads(request)["tools"]]
    names = [tool["name"] for tool in tools]
    assert all(TOOL_NAME.fullmatch(name) for name in names)
    assert len(set(names)) == len(NAMES)
    return names


@pytest.mark.parametrize("escape", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_names_that_openai_refuses_in_chat(stream: bool, escape: bool) -> None:
    """They are told in another way in tools, choice and history; an answer's calls bear the caller's."""
    choice = {"type": "function", "function": {"name": NAMES[0]}}
    body = chat(HISTORY) | {"tool_choice": choice, "stream": stream}
    of = job(json.dumps(body, ensure_ascii=escape).encode(), stream=stream)
    (made,) = OpenAI().open(of, model(), {})
    raw = made.request(OWN).body
    names = told_names(raw, native=False)
    told = json.loads(raw)
    assert told["tool_choice"]["function"]["name"] == names[0]
    history = [call["function"]["name"] for one in told["messages"] for call in one.get("tool_calls", ())]
    assert history == names
    text = f'quoted "name":"{names[0]}"'
    calls = tuple((f"id{at}", name, {}) for at, name in enumerate(names))
    answer = Answer((text,), TokenUsage(input=1, output=1), calls)
    if stream:
        out = made.feed(b"".join(openai_events(answer))) + made.close()
        deltas = [json.loads(one[6:])["choices"] for one in out.split(b"\n\n") if one.startswith(b"data: {")]
        said = [choices[0]["delta"] for choices in deltas if choices]
    else:
        said = [json.loads(made.answer(openai_body(answer)))["choices"][0]["message"]]
    found = [call["function"] for one in said for call in one.get("tool_calls") or ()]
    assert [function["name"] for function in found if "name" in function] == list(NAMES)
    assert text in [one.get("content") for one in said]
    assert json.loads(made.request(OTHER).body)["tools"][0]["function"]["name"] == NAMES[0]


@pytest.mark.parametrize("stream", [True, False])
def test_names_that_openai_refuses_in_responses(stream: bool) -> None:
    """The same, with what the response says of its tools."""
    row, _ = ROWS["openai responses"]
    body = responses(HISTORY) | {"tool_choice": {"type": "function", "name": NAMES[0]}, "stream": stream}
    of = cases.job({}, dialect=RESPONSES, body=json.dumps(body).encode(), stream=stream)
    (made,) = OpenAI().open(of, row, {})
    raw = made.request(OWN).body
    names = told_names(raw, native=True)
    assert json.loads(raw)["tool_choice"]["name"] == names[0]
    assert [item["name"] for item in json.loads(raw)["input"] if "name" in item] == names
    item = {"type": "function_call", "call_id": "a", "name": names[2], "arguments": "{}"}
    whole = {"status": "completed", "output": [item], "tools": [{"type": "function", "name": names[0]}]}
    if stream:
        done = {"type": "response.output_item.done", "item": item}
        events = (done, {"type": "response.completed", "response": whole})
        out = made.feed(b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in events))
    else:
        out = made.answer(json.dumps(whole).encode())
    assert made.finished
    assert out.count(NAMES[2].encode()) == 1 + stream
    assert NAMES[0].encode() in out
    assert not any(name.encode() in out for name in (names[0], names[2]))
