"""The fake is as strict as the API: Anthropic's own SDK accepts its answers, and it refuses what the real one refuses."""

import asyncio
import json

import aiohttp
import pytest

from runtime.settings.settings import AccountSettings
from schemas.chat.refusals import refuse
from schemas.chat.request import CHAT
from tests.fakes import conversation
from tests.fakes.anthropic import API_KEY, FakeAnthropic, Script, ending, error_body, opening, texts, tool_use
from tests.workers.providers.anthropic.cases import NEW, OLD, chunks, exchange, job, model, stream_job
from workers.providers.anthropic.family import Anthropic
from workers.providers.base import Action

TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}
USER = {"role": "user", "content": "hi"}
TWO_CALLS = (
    opening(),
    *texts("Well"),
    *tool_use("toolu_1", "f", '{"a"', ":1}", index=1),
    *tool_use("toolu_2", "f", index=2),
    *ending("tool_use"),
)


@pytest.fixture
def fake():
    """A running fake."""
    with FakeAnthropic() as running:
        yield running


@pytest.fixture
def anthropic():
    """Anthropic's own SDK."""
    import anthropic  # noqa: PLC0415  two seconds for each process that collects the tests, used or not

    return anthropic


def sdk(fake, key=API_KEY):
    """Anthropic's own client, pointed at the fake."""
    from anthropic import Anthropic as Client  # noqa: PLC0415  as above

    version = {"anthropic-version": "2023-06-01"}
    return Client(api_key=key, base_url=fake.base_url, max_retries=0, default_headers=version)


def ask(fake, *messages, **options):
    """One plain call through the SDK."""
    with sdk(fake) as client:
        known = {"model": OLD.upstream, "max_tokens": 2000, "messages": list(messages) or [USER]}
        return client.messages.create(**known | options)


async def fetch(fake, made, account=None) -> bytes:
    """What a caller gets when an exchange's call goes over HTTP, as a worker would make it."""
    request = made.request(account or AccountSettings(id="a", api_key=API_KEY, base_url=fake.base_url))
    async with (
        aiohttp.ClientSession() as session,
        session.post(request.url, data=request.body, headers=request.headers) as answer,
    ):
        if answer.status != 200:
            made.fault = Anthropic().fault(answer.status, answer.headers, await answer.read())
            return b""
        if "stream" not in answer.content_type and "event" not in answer.content_type:
            return made.answer(await answer.read())
        out = b""
        try:
            async for data in answer.content.iter_any():
                out += made.feed(data)
        except aiohttp.ClientPayloadError:
            pass
        return out + made.close()


def test_the_sdk_accepts_plain_answers(fake):
    """The official SDK reads text, tools and usage out of a plain answer."""
    fake.play(Script(events=TWO_CALLS))
    message = ask(fake)
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    assert message.content[1].input == {"a": 1}
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == (
        "tool_use",
        3,
        2,
    )


def test_the_sdk_accepts_streams(fake):
    """The official SDK accumulates the same out of a stream."""
    fake.play(Script(events=TWO_CALLS))
    with (
        sdk(fake) as client,
        client.messages.stream(model=OLD.upstream, max_tokens=20, messages=[USER]) as stream,
    ):
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    assert message.content[1].input == {"a": 1}
    assert message.content[2].input == {}


def test_the_sdk_raises_on_errors(fake, anthropic):
    """The official SDK tells the fake's errors apart as it does the real ones."""
    fake.play(Script(status=429, error=error_body("rate_limit_error", "x")), Script(status=529))
    with pytest.raises(anthropic.RateLimitError):
        ask(fake)
    with pytest.raises(anthropic.APIStatusError):
        ask(fake)
    with sdk(fake, "wrong") as client, pytest.raises(anthropic.AuthenticationError):
        client.messages.create(model=OLD.upstream, max_tokens=1, messages=[USER])
    fake.gone.add(OLD.upstream)
    with pytest.raises(anthropic.NotFoundError):
        ask(fake)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"messages": []},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "user", "content": "  "}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"messages": [USER, {"role": "assistant", "content": "x "}]},
        {"messages": [USER, {"role": "assistant", "content": "x"}], "model": NEW.upstream},
        {"messages": [USER, {"role": "assistant", "content": [CALL]}], "tools": TOOLS},
        {"messages": [USER, {"role": "user", "content": [RESULT]}], "tools": TOOLS},
        {"messages": [USER, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [RESULT]}]},
        {
            "messages": [
                USER,
                {"role": "assistant", "content": [CALL]},
                {"role": "user", "content": [{"type": "text", "text": "x"}, RESULT]},
            ],
            "tools": TOOLS,
        },
        {"system": " "},
        {"tools": [*TOOLS, *TOOLS]},
        {"tools": [{"name": "a b", "input_schema": {"type": "object"}}]},
        {"tools": [{"name": "f", "input_schema": {}}]},
        {"tool_choice": {"type": "auto"}},
        {"tools": TOOLS, "tool_choice": {"type": "none", "disable_parallel_tool_use": True}},
        {"tools": TOOLS, "tool_choice": {"type": "tool", "name": "g"}},
        {"stop_sequences": ["\n"]},
        {"metadata": {"user_id": "a@b.test"}},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"thinking": {"type": "enabled", "budget_tokens": 4000}, "model": "claude-opus-4-1"},
        {"extra_body": {"temperature": 1.5}},
        {"extra_body": {"top_p": 1}, "model": NEW.upstream},
        {"extra_body": {"of_another_day": 1}},
        {"extra_headers": {"anthropic-version": ""}},
    ],
)
def test_the_fake_refuses_what_the_real_one_refuses(fake, anthropic, wrong):
    """Requests that the API answers with a 400 get one here."""
    with pytest.raises(anthropic.BadRequestError):
        ask(fake, **wrong)
    assert not fake.calls


async def test_exchanges_over_http(fake):
    """What the family sends passes the fake, and its answers come through, plain and streamed."""
    plain = json.loads(await fetch(fake, exchange(job({}, upstream=OLD.upstream))))
    assert plain["choices"][0]["message"]["content"] == "Hello"
    made = exchange(stream_job())
    out = chunks(await fetch(fake, made))
    assert made.finished
    assert out[-1]["usage"]["total_tokens"] == 5
    assert [call.body.get("stream") for call in fake.calls] == [False, True]
    assert not fake.refusals


async def test_faults_over_http(fake):
    """Cuts, ends, errors and refused keys become faults of the right kind."""
    fake.play(
        Script(cut=3), Script(end=5), Script(status=529, error=error_body("overloaded_error", "Overloaded"))
    )
    for status in (502, 502, 503):
        made = exchange(stream_job())
        await fetch(fake, made)
        assert made.fault.error.status == status
    made = exchange(job({}))
    await fetch(fake, made, AccountSettings(id="b", api_key="sk-ant-wrong000", base_url=fake.base_url))
    assert made.fault.action is Action.REFUSED
    assert "wrong" not in made.fault.error.message


async def test_hanging_up_closes_the_call(fake):
    """An upstream that is slow is left at once when the caller hangs up."""
    fake.play(Script(pace_s=5.0))
    task = asyncio.create_task(fetch(fake, exchange(stream_job())))
    deadline = asyncio.get_running_loop().time() + 5
    while not fake.calls:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not fake.calls[0].finished


@pytest.mark.parametrize("upstream", ["claude-3-5-sonnet-20241022", "claude-haiku-4-5", "claude-sonnet-4-6"])
async def test_the_conversation_of_all_families(fake, upstream):
    """System, image, parallel calls, results and a JSON answer, streamed, come out as on every other family."""
    row = model(upstream)
    usage = {"input_tokens": 100, "cache_read_input_tokens": 20}
    calls = [
        event
        for index, text in enumerate(conversation.ARGUMENTS)
        for event in tool_use(f"toolu_{index}", conversation.TOOL_NAME, text[:5], text[5:], index=index)
    ]
    fake.play(
        Script(events=(opening(**usage), *calls, *ending("tool_use", output_tokens=30))),
        Script(
            events=(opening(input_tokens=180), *texts(*conversation.ANSWER_PIECES), *ending(output_tokens=12))
        ),
    )
    first = conversation.first_request("M")
    assert refuse(row, CHAT, json.dumps(first).encode()) is None
    made = exchange(job(first, upstream=upstream), row)
    found, ids = conversation.outcome(chunks(await fetch(fake, made)))
    assert found == conversation.FIRST
    second = conversation.second_request("M", ids, json_with_tools=row.capabilities.json_with_tools)
    assert refuse(row, CHAT, json.dumps(second).encode()) is None
    made = exchange(job(second, upstream=upstream), row)
    found, _ = conversation.outcome(chunks(await fetch(fake, made)))
    assert found == conversation.SECOND
    assert not fake.refusals
