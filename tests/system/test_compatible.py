"""Owns compatible servers over the whole path: raw bytes in, OpenAI's SDK out, and the bill of what they said."""

import json
from typing import Any

import httpx
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion

from schemas.catalogue.anthropic import CLAUDE_47
from schemas.money.pricing import TokenUsage
from tests.fakes import anthropic_rules
from tests.fakes.anthropic import ending, framed, opening, texts
from tests.fakes.compatible import CASES, HI, ROLE, STOP, TOOL, Case, sse
from tests.fakes.families import by_hand, model_toml, pool_toml
from tests.fakes.raw import RawServer
from tests.fakes.tokn import Tokn, wait_for

pytestmark = pytest.mark.system

SAY = [{"role": "user", "content": "hello " * 300}]  # its bound must be above what any case reports
BY_NAME = {case.name: case for case in CASES}
REFUSES = "refuses-stream-options"
HEALED = "refuses-stream-options-too"


def _whole_path(case: Case) -> bool:
    """Not what differs from another case only in a place that unit tests go through: a pool each costs time."""
    name = case.name
    if name.endswith("-beside"):
        return name.startswith("cached-at-top")
    return not name.endswith("-200-plain") or name.startswith(("json-error", "no-choices"))


WHOLE_PATH = [case for case in CASES if _whole_path(case)]
every_case = pytest.mark.parametrize("case", WHOLE_PATH, ids=[case.name for case in WHOLE_PATH])


def refusing(asked: dict[str, Any]) -> Case:
    """A server that knows no `stream_options`."""
    if "stream_options" in asked:
        told = {
            "detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]
        }
        return Case("refused", json.dumps(told).encode(), content_type="application/json", sent=422)
    return Case("served", sse(ROLE, HI, STOP), usage=None)


DYNAMIC = {REFUSES: refusing, HEALED: refusing}
CLAUDE = "claude-opus-4-8"
ZEROS = "claude-that-counts-anew"


def claude(asked: dict[str, Any]) -> Case:
    """Anthropic's API: a body that breaks its rules is a 400."""
    try:
        anthropic_rules.check(json.dumps(asked).encode(), CLAUDE_47)
    except anthropic_rules.RefusalError as refusal:
        told = {"type": "error", "error": {"type": "invalid_request_error", "message": str(refusal)}}
        return Case("refused", json.dumps(told).encode(), content_type="application/json", sent=400)
    return Case("served", b"".join(framed(one) for one in (opening(), *texts("hi"), *ending())))


def counting_anew(asked: dict[str, Any]) -> Case:
    """A server of Anthropic's protocol whose last event has zeros for the prompt."""
    start = opening(input_tokens=1000, cache_read_input_tokens=500, output_tokens=1)
    zeros = {"input_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    events = (start, *texts("hi"), *ending(output_tokens=9, **zeros))
    return Case("zeros", b"".join(framed(one) for one in events))


ANTHROPIC = {CLAUDE: claude, ZEROS: counting_anew}


@pytest.fixture(scope="module")
def server():
    """All cases on one socket."""
    with RawServer(BY_NAME, DYNAMIC | ANTHROPIC) as running:
        yield running


@pytest.fixture(scope="module")
def tokn(server, tmp_path_factory):
    """`tokn up` with a model for each case. One that fails an account has a pool of its own, so that no other waits."""
    account = f'api_key = "k"\nbase_url = "{server.base_url}"\n'
    text = pool_toml("shapes", "openai", [account]) + pool_toml("bare", "openai", [account])
    for number, case in enumerate(WHOLE_PATH):
        pool = "shapes"
        if case.fails and case.status != 400:
            pool = f"fails-{number}"
            text += pool_toml(pool, "openai", [account])
        text += model_toml(case.name, pool, case.name)
    text += "".join(model_toml(name, "bare", name) for name in DYNAMIC)
    text += pool_toml("claude", "anthropic", [account.replace("/v1", "")])
    text += "".join(model_toml(name, "claude", name) for name in ANTHROPIC)
    with Tokn(tmp_path_factory.mktemp("compatible") / "data", text) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(tokn):
    """The official SDK, without retries of its own."""
    with openai.OpenAI(api_key=tokn.key, base_url=f"{tokn.url}/v1", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def receipts(tokn):
    """What the books say of a call, once they do."""
    with httpx.Client(
        base_url=tokn.url, headers={"Authorization": f"Bearer {tokn.key}"}, timeout=60
    ) as client:

        def of(request_id: str) -> dict[str, Any]:
            def look() -> Any:
                answer = client.get(f"/v1/generations/{request_id}")
                return answer.json() if answer.status_code == 200 else None

            return dict(wait_for(look, 10, f"a receipt of {request_id}"))

        yield of


def asked(sdk: openai.OpenAI, name: str, case: Case) -> tuple[str, ChatCompletion]:
    """One call with the SDK, a stream read by its own helper: the request id and the answer. Raises what the SDK does."""
    more = {"stream": True, "stream_options": {"include_usage": True}} if case.stream else {}
    raw = sdk.chat.completions.with_raw_response.create(model=name, messages=SAY, **case.ask, **more)
    request_id = raw.headers["x-request-id"]
    if not case.stream:
        return request_id, raw.parse()
    state = ChatCompletionStreamState()
    chunks = []
    try:
        for chunk in raw.parse():
            chunks.append(chunk)
            state.handle_chunk(chunk)
    except openai.APIError as error:
        error.add_note(request_id)
        raise
    assert len({(chunk.id, chunk.object, chunk.created) for chunk in chunks}) == 1
    assert all(chunk.choices for chunk in chunks if chunk.usage is None)
    return request_id, ChatCompletion.model_validate(state.current_completion_snapshot.model_dump())


@every_case
def test_what_a_caller_gets_and_pays(sdk, receipts, case):
    """An answer is read as it was meant and billed as it was reported; an error has its status, and is no clean end."""
    if case.begun:
        with pytest.raises(openai.APIError) as broken:
            asked(sdk, case.name, case)
        assert not isinstance(broken.value, openai.APIStatusError)
        paid = receipts(broken.value.__notes__[0])
        assert (paid["outcome"], paid["known"]) == ("failed", "estimated")
        return
    if case.fails:
        with pytest.raises(openai.APIStatusError) as refused:
            asked(sdk, case.name, case)
        assert refused.value.status_code == case.status
        assert case.code in ("", refused.value.code)
        assert receipts(refused.value.request_id)["billed_nano"] == 0
        return
    request_id, answer = asked(sdk, case.name, case)
    choice = answer.choices[0]
    assert (choice.message.content or "", choice.finish_reason) == (case.text, case.finish)
    assert [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()] == [
        call[1:] for call in case.calls
    ]
    paid = receipts(request_id)
    if case.usage is None:
        assert paid["known"] == "estimated"
        assert answer.usage is None
        return
    assert (paid["known"], paid["billed_nano"]) == ("reported", by_hand(case.usage))
    shown = answer.usage
    assert shown is not None
    assert (shown.prompt_tokens, shown.completion_tokens) == (case.usage.prompt, case.usage.completion)
    assert shown.total_tokens == case.usage.prompt + case.usage.completion
    cached = shown.prompt_tokens_details.cached_tokens if shown.prompt_tokens_details is not None else 0
    assert (cached or 0) == case.usage.cached
    assert "cost" not in answer.to_json()


def test_stream_options_are_refused_once(sdk, server, receipts):
    """A server that knows no `stream_options` serves the first call in the same try, and is never asked for them again."""
    for name in (REFUSES, HEALED):
        request_id, answer = asked(sdk, name, Case(name, b"", usage=None))
        assert answer.choices[0].message.content == "hi"
        assert receipts(request_id)["known"] == "estimated"
    assert ["stream_options" in body for body in server.received[REFUSES]] == [True, False]
    assert ["stream_options" in body for body in server.received[HEALED]] == [False]


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_what_a_server_may_not_know_is_not_sent(sdk, server, limit):
    """A limit goes up under the one name of the row, and cache marks that mean nothing stay here."""
    name = "base-resp-0"
    part = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}
    messages: Any = [{"role": "user", "content": [part]}]
    sdk.chat.completions.create(model=name, messages=messages, extra_body={limit: 77})
    sent = server.received[name][-1]
    assert {key: value for key, value in sent.items() if "tokens" in key} == {"max_tokens": 77}
    assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]


def test_a_history_whose_ids_repeat_is_served(sdk):
    """Ids that count anew in each turn, and a function of the legacy kind called twice, are unique at Anthropic."""
    messages: list[Any] = list(SAY)
    for turn in range(3):
        call = {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": "call_0", "content": str(turn)})
        old = {"name": "weather", "arguments": "{}"}
        messages.append({"role": "assistant", "content": None, "function_call": old})
        messages.append({"role": "function", "name": "weather", "content": str(turn)})
    answer = sdk.chat.completions.create(model=CLAUDE, messages=messages, tools=[TOOL], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in answer) == "hi"


@pytest.mark.parametrize("recursive", [False, True])
def test_a_schema_that_openai_takes_is_served(sdk, recursive):
    """What is outside Anthropic's subset is told in words: counts, formats, `oneOf`, and a schema that has itself inside."""
    item: Any = {"oneOf": [{"type": "string", "format": "idn-email"}, {"type": "integer", "minimum": 2}]}
    if recursive:
        item["oneOf"].append({"$ref": "#"})
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": item, "minItems": 2}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    answer = sdk.chat.completions.create(model=CLAUDE, messages=SAY, response_format=form, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in answer) == "hi"


def test_a_later_zero_lowers_no_bill(sdk, receipts):
    """Anthropic's counts are running totals: the bill has the prompt that the opening told."""
    used = TokenUsage(input=1000, cached=500, output=9)
    request_id, answer = asked(sdk, ZEROS, Case(ZEROS, b""))
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1500, 9)
    assert receipts(request_id)["billed_nano"] == by_hand(used)


def test_a_usage_chunk_only_for_who_asked(sdk, tokn):
    """Who did not ask for usage gets no chunk without choices, and no word of usage."""
    for name in ("usage-in-every-chunk", "azure-first-chunk", "usage-in-x_groq"):
        chunks = list(sdk.chat.completions.create(model=name, messages=SAY, stream=True))
        assert all(chunk.choices for chunk in chunks)
        assert all("usage" not in chunk.model_fields_set for chunk in chunks)


def test_the_books_end_even(tokn):
    """Whatever servers said, the books balance, and nothing was charged beyond its hold."""
    assert tokn.audit()["ok"] is True
