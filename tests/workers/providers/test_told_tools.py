"""What comes back for histories of elsewhere: names of tools as the caller wrote them, and one try without old reasoning."""

import json
from typing import Any

import pytest

from schemas.dialects.blobs import Blob, seal
from schemas.money.pricing import TokenUsage
from tests.fakes.dialects import (
    Answer,
    anthropic_events,
    bedrock_body,
    bedrock_events,
    gemini_events,
    gemini_objects,
)
from tests.fakes.histories import TELLERS, Call, Result, Thinking, User
from tests.workers.providers.bedrock import cases as bedrock_cases
from tests.workers.providers.test_families import ACCOUNT
from tests.workers.providers.test_foreign_histories import ROWS, opened
from workers.providers import family

GO = User("go")
NAMES = ("1st", "a.b", "x" * 150 + "1", "x" * 150 + "2", "\u00e9\u00e9")
USAGE = TokenUsage(input=5, output=5)
FAMILIES = ("claude-opus-4-8", "gemini-3.8-flash", bedrock_cases.CLAUDE)
EVENTS = dict(zip(FAMILIES, (anthropic_events, gemini_events, bedrock_events), strict=True))


def sent_names(body: Any) -> list[str]:
    """The names of the tools of a request, by whichever family."""
    if "toolConfig" in body and "tools" in body["toolConfig"]:
        return [one["toolSpec"]["name"] for one in body["toolConfig"]["tools"]]
    tools = body["tools"]
    return [one["name"] for one in tools[0].get("functionDeclarations", tools)]


def chosen(body: Any) -> str:
    """The tool that a request is forced to."""
    config = body.get("toolConfig", {})
    if "functionCallingConfig" in config:
        return str(config["functionCallingConfig"]["allowedFunctionNames"][0])
    return str(config["toolChoice"]["tool"]["name"] if config else body["tool_choice"]["name"])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("upstream", FAMILIES)
@pytest.mark.parametrize("dialect", TELLERS)
def test_names_are_the_callers_in_the_answer(dialect: str, upstream: str, stream: bool) -> None:
    """In tools, choice and history each is one that the family takes, no two alike; calls bear the caller's own."""
    row, check = ROWS[upstream]
    history = [one for at, name in enumerate(NAMES) for one in (Call(f"c{at}", name), Result(f"c{at}"))]
    body = TELLERS[dialect]((GO, *history))
    choice = {"type": "function", "name": NAMES[1]}
    if dialect == "chat":
        choice = {"type": "function", "function": {"name": NAMES[1]}}
    elif dialect == "messages":
        choice = {"type": "tool", "name": NAMES[1]}
    made = opened(body | {"stream": stream, "tool_choice": choice}, dialect, row, stream=stream)
    raw = made.request(ACCOUNT).body
    check(raw, row)
    told = json.loads(raw)
    names = sent_names(told)
    assert len(set(names)) == len(NAMES)
    assert chosen(told) == names[1]
    answer = Answer((), USAGE, tuple((f"id{at}", name, {"a": 1}) for at, name in enumerate(names)))
    out = answered(made, upstream, answer, stream=stream).replace('": "', '":"')
    assert made.finished, made.fault
    for name in NAMES:
        assert f'"name":{json.dumps(name, ensure_ascii=False)}' in out
    assert all(f'"name":"{name}"' not in out for name in set(names) - set(NAMES))


def answered(made: Any, upstream: str, answer: Answer, *, stream: bool) -> str:
    """What the caller gets for an answer."""
    if stream:
        data = b"".join(EVENTS[upstream](answer)).replace(b"HALF", rb"\ud83d")
        return str((made.feed(data) + made.close()).decode())
    if upstream.startswith("gemini"):
        body: Any = gemini_objects(answer)
    elif upstream == bedrock_cases.CLAUDE:
        body = bedrock_body(answer)
    else:
        content = [
            {"type": "tool_use", "id": call_id, "name": name, "input": given}
            for call_id, name, given in answer.calls
        ]
        body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
                "stop_reason": "tool_use", "stop_sequence": None,
                "usage": {"input_tokens": 5, "output_tokens": 5}}  # fmt: skip
    return str(made.answer(json.dumps(body).encode()).decode())


def test_a_name_that_another_tool_has_already() -> None:
    """A caller's own tool may be called what another one would be called: they stay apart."""
    row, _ = ROWS["claude-opus-4-8"]
    body = TELLERS["chat"]((GO, Call("a", "a.b"), Result("a")))
    (first,) = sent_names(json.loads(opened(body, "chat", row).request(ACCOUNT).body))
    body["tools"].append({"type": "function", "function": {"name": first}})
    names = sent_names(json.loads(opened(body, "chat", row).request(ACCOUNT).body))
    assert names[1] == first
    assert names[0] != first


@pytest.mark.parametrize("upstream", ["claude-opus-4-8", "claude-opus-4-1", bedrock_cases.CLAUDE])
@pytest.mark.parametrize("dialect", ["responses", "messages"])
def test_reasoning_that_cannot_be_verified_is_left_out_once(dialect: str, upstream: str) -> None:
    """The provider's 400 leads to one try without any; what is left is a request that it takes."""
    row, check = ROWS[upstream]
    proof = "EqQBCg=="
    if dialect == "responses" or row.family == "bedrock":
        block: Any = {"type": "thinking", "thinking": "Hm.", "signature": proof}
        kind = "block"
        if row.family == "bedrock":
            block, kind = [{"reasoningText": {"text": "Hm.", "signature": proof}}], "blocks"
        proof = seal("s", Blob(row.family, row.upstream, kind, json.dumps(block)))
    body = TELLERS[dialect]((GO, Thinking(proof), Call("a", "f"), Result("a")))
    made = opened(body, dialect, row)
    assert b"EqQBCg==" in made.request(ACCOUNT).body
    said = "messages.1.content.0: Invalid `signature` in `thinking` block"
    refusal = {"type": "error", "error": {"type": "invalid_request_error", "message": said}, "message": said}
    fault = family(row.family).fault(400, {}, json.dumps(refusal).encode())
    assert fault.thoughts_refused
    assert made.forget_thoughts()
    raw = made.request(ACCOUNT).body
    assert b"EqQBCg==" not in raw
    check(raw, row)
    assert not made.forget_thoughts()
    other = {"type": "error", "error": {"type": "invalid_request_error", "message": "No."}, "message": "No."}
    assert not family(row.family).fault(400, {}, json.dumps(other).encode()).thoughts_refused


def test_a_turn_that_another_model_began_goes_on_without_a_budget() -> None:
    """Claude wants its own reasoning behind the calls of the running turn; what it gave itself keeps the budget."""
    row, check = ROWS["claude-opus-4-1"]
    budget = {"thinking": {"type": "enabled", "budget_tokens": 1_024}, "max_tokens": 2_000}
    for proof, kept in (("tokn1.abcd", False), ("", False), ("EqQBCg==", True)):
        history = (GO, Thinking(proof), Call("a", "f"), Result("a"))
        raw = opened(TELLERS["messages"](history) | budget, "messages", row).request(ACCOUNT).body
        assert ("thinking" in json.loads(raw)) is kept
        if not kept:
            check(raw, row)
    raw = opened(TELLERS["messages"]((*history, User("on"))) | budget, "messages", row).request(ACCOUNT).body
    assert "thinking" in json.loads(raw)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("upstream", FAMILIES)
@pytest.mark.parametrize("dialect", TELLERS)
def test_half_a_character_in_an_answer_costs_no_more(dialect: str, upstream: str, stream: bool) -> None:
    """Text, and arguments of a call, come with the replacement in its place."""
    row, _ = ROWS[upstream]
    made = opened(TELLERS[dialect]((GO,)) | {"stream": stream}, dialect, row, stream=stream)
    made.request(ACCOUNT)
    half = "HALF" if upstream == "claude-opus-4-8" and stream else "\ud83d"
    answer = Answer((f"so {half}",), USAGE, (("c", "f", {"a": half}),))
    out = answered(made, upstream, answer, stream=stream)
    assert made.finished, made.fault
    assert "\ufffd" in out or "\\ufffd" in out
    assert '"f"' in out
