import json
from datetime import timedelta

import boto3
import botocore.auth
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.chat.request import COMPLETIONS
from tests.fakes import bedrock as fake
from tests.fakes import bedrock_frames as frames
from tests.fakes.bedrock_rules import InvalidError, check
from tests.workers.providers.bedrock.cases import CLAUDE, CLAUDE_3, NOVA, TITAN, exchange, job, model
from workers.providers.base import Action
from workers.providers.bedrock.family import Bedrock
from workers.upstream.http import HttpUpstream

ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
HI = [{"role": "user", "content": [{"text": "hi"}]}]
TOOL_ANSWER = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [{"text": "Hi"}, {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}}],
        }
    },
    "stopReason": "tool_use",
    "usage": fake.usage(10, 42, cacheReadInputTokens=100, cacheWriteInputTokens=5),
    "metrics": {"latencyMs": 9},
}


@pytest.fixture
def server():
    with fake.Bedrock() as made:
        yield made


@pytest.fixture
async def upstream():
    made = HttpUpstream()
    yield made
    await made.aclose()


def account(server, **more) -> AccountSettings:
    keys = {"access_key_id": fake.ACCESS_KEY, "secret_access_key": fake.SECRET_KEY} | more
    return AccountSettings(id="a", region=fake.REGION, base_url=server.base_url, **keys)


def boto(server, **more):
    keys = {"aws_access_key_id": fake.ACCESS_KEY, "aws_secret_access_key": fake.SECRET_KEY} | more
    config = Config(retries={"total_max_attempts": 1}, read_timeout=10)
    return boto3.Session().client(
        "bedrock-runtime", endpoint_url=server.base_url, region_name=fake.REGION, config=config, **keys
    )


async def call(upstream, request) -> tuple[int, bytes]:
    answer = await upstream.open(request)
    body = b""
    while data := await answer.read():
        body += data
    answer.close()
    return answer.status, body


@pytest.mark.parametrize("upstream_id", [CLAUDE_3, CLAUDE, NOVA, ARN])
@pytest.mark.parametrize("token", ["", "SESSIONTOKEN"])
async def test_c29_the_path_that_was_signed_is_the_path_that_is_sent(server, upstream, upstream_id, token):
    """Ids that end in `:0`, profiles and ARNs: %3A and %2F go out as they are, so the signature over them holds."""
    server.secrets[fake.ACCESS_KEY] = (fake.SECRET_KEY, token)
    made = exchange(upstream_id, stream=False)
    status, body = await call(upstream, made.request(account(server, session_token=token)))
    assert (status, made.fault) == (200, None), body
    assert json.loads(made.answer(body))["choices"][0]["message"]["content"] == "Hi"
    seen = server.calls[-1]
    assert seen.raw_path == f"/model/{upstream_id.replace(':', '%3A').replace('/', '%2F')}/converse"
    assert seen.model == upstream_id


async def test_streams_and_titan_over_http(server, upstream):
    """All four operations, signed, whole and in pieces of a few bytes."""
    for piece_bytes in (0, 3):
        for upstream_id, body in ((CLAUDE, fake.answer("Hello")), (TITAN, None)):
            stream = fake.stream_of(body) if body else fake.titan_stream("\nHello")
            server.replies.append(fake.Reply(frames=stream, piece_bytes=piece_bytes))
            made = exchange(upstream_id)
            answer = await upstream.open(made.request(account(server)))
            out = b""
            while data := await answer.read():
                out += made.feed(data)
            out += made.close()
            answer.close()
            assert made.finished, made.fault
            text = "".join(
                json.loads(event[6:])["choices"][0]["delta"].get("content", "")
                for event in out.decode().split("\n\n")
                if event and json.loads(event[6:])["choices"]
            )
            assert text == "Hello"
    verbs = [seen.verb for seen in server.calls]
    assert verbs == ["converse-stream", "invoke-with-response-stream"] * 2
    assert all(seen.headers["x-amzn-bedrock-accept"] == "application/json" for seen in server.calls[1::2])


async def test_a_bearer_token_is_let_in(server, upstream):
    """The alternative to SigV4, and what a wrong one looks like to the caller: never a 401, never the token."""
    good = AccountSettings(id="a", region=fake.REGION, base_url=server.base_url, bearer_token=fake.BEARER)
    assert (await call(upstream, exchange(stream=False).request(good)))[0] == 200
    bad = AccountSettings(id="a", region=fake.REGION, base_url=server.base_url, bearer_token="wrong")
    status, body = await call(upstream, exchange(stream=False).request(bad))
    fault = Bedrock().fault(status, {"x-amzn-errortype": "UnrecognizedClientException"}, body)
    assert status == 403
    assert (fault.error.status, fault.error.code, fault.action) == (502, "upstream_auth", Action.REFUSED)
    assert fake.BEARER not in fault.error.message


@pytest.mark.parametrize(
    "broken", [{"secret_access_key": "wrong"}, {"access_key_id": "AKIDOTHER"}, {"session_token": "old"}]
)
async def test_the_fake_lets_nothing_in_that_is_not_signed(server, upstream, broken):
    """A wrong secret, an unknown key, a token that is not this key's."""
    status, _ = await call(upstream, exchange(stream=False).request(account(server, **broken)))
    assert status == 403
    assert server.calls == []


async def test_the_fake_refuses_a_clock_that_is_six_minutes_off(server, upstream, monkeypatch):
    """A signature is good for five minutes either way."""
    now = botocore.auth.get_current_datetime()
    for minutes in (6, -6):
        monkeypatch.setattr(
            botocore.auth, "get_current_datetime", lambda m=minutes: now + timedelta(minutes=m)
        )
        status, body = await call(upstream, exchange(stream=False).request(account(server)))
        assert (status, b"expired" in body) == (403, True)


def test_boto3_accepts_what_the_fake_answers_to_converse(server):
    """The fake is not judged by our own reading alone: AWS's SDK signs, sends, and parses its answers."""
    client = boto(server)
    server.replies = [
        fake.Reply(body=TOOL_ANSWER),
        fake.Reply(frames=fake.stream_of(TOOL_ANSWER), piece_bytes=5),
    ]
    whole = client.converse(
        modelId=CLAUDE, messages=HI, system=[{"text": "s"}], inferenceConfig={"maxTokens": 5}
    )
    assert whole["output"] == TOOL_ANSWER["output"]
    assert whole["usage"] == TOOL_ANSWER["usage"]
    events = list(client.converse_stream(modelId=ARN, messages=HI)["stream"])
    assert [next(iter(event)) for event in events[:3]] == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
    ]
    assert events[-1]["metadata"]["usage"] == TOOL_ANSWER["usage"]
    assert events[-2]["messageStop"]["stopReason"] == "tool_use"


def test_boto3_accepts_what_the_fake_answers_to_invoke(server):
    """InvokeModel and its stream, for Titan."""
    client = boto(server)
    body = json.dumps({"inputText": "hi", "textGenerationConfig": {"maxTokenCount": 5}})
    asked = {"modelId": TITAN, "body": body, "contentType": "application/json", "accept": "application/json"}
    assert json.loads(client.invoke_model(**asked)["body"].read()) == fake.titan_answer()
    events = list(client.invoke_model_with_response_stream(**asked)["body"])
    last = json.loads(events[-1]["chunk"]["bytes"])
    assert last["completionReason"] == "FINISH"
    assert last["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 2


def test_boto3_sees_the_fakes_errors_as_awss(server):
    """Statuses, names, and exceptions inside a stream."""
    client = boto(server)
    for name, status in (
        ("ThrottlingException", 429),
        ("ModelErrorException", 424),
        ("ValidationException", 400),
    ):
        server.replies = [fake.Reply(error=name, message="why")]
        with pytest.raises(ClientError) as caught:
            client.converse(modelId=CLAUDE, messages=HI)
        assert caught.value.response["Error"] == {"Code": name, "Message": "why"}
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    cut = [*fake.stream_of(fake.answer())[:2], frames.exception("throttlingException", "slow")]
    server.replies = [fake.Reply(frames=cut)]
    with pytest.raises(EventStreamError, match="slow"):
        list(client.converse_stream(modelId=CLAUDE, messages=HI)["stream"])
    with pytest.raises(ClientError, match="does not match"):
        boto(server, aws_secret_access_key="wrong").converse(modelId=CLAUDE, messages=HI)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"messages": HI, "toolConfig": {"tools": []}}, "not within"),
        ({"messages": HI, "nonsense": 1}, "extraneous"),
        ({"messages": [{"role": "user", "content": [{"text": " "}]}]}, "blank"),
        ({"messages": [{"role": "user", "content": [{"text": "a", "image": {}}]}]}, "union"),
        ({"messages": [{"role": "assistant", "content": [{"text": "a"}]}]}, "start with a user"),
        ({"messages": [*HI, *HI]}, "alternate"),
        ({"messages": HI, "inferenceConfig": {"temperature": 1.5}}, "not within"),
        ({"messages": HI, "requestMetadata": {"a": "é"}}, "does not match"),
        (
            {
                "messages": [
                    *HI,
                    {
                        "role": "assistant",
                        "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}],
                    },
                    {
                        "role": "user",
                        "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "x"}]}}],
                    },
                ]
            },
            "toolConfig field must be defined",
        ),
    ],
)
def test_the_fake_refuses_what_the_real_one_refuses(body, why):
    """By botocore's service model, and by the rules that are only found out by asking."""
    with pytest.raises(InvalidError, match=why):
        check("Converse", CLAUDE, body)


async def test_a_stream_that_is_cut_on_the_wire(server, upstream):
    """The connection breaks after some frames: what came is kept, and no end is made up."""
    server.replies = [fake.Reply(frames=fake.stream_of(fake.answer("Hello you")), end=3)]
    made = exchange()
    answer = await upstream.open(made.request(account(server)))
    while data := await answer.read():
        made.feed(data)
    made.close()
    answer.close()
    assert made.fault is not None
    assert not made.finished


async def test_legacy_completions_are_calls_of_their_own(server, upstream):
    """Two prompts, two calls, one answer with their usage summed."""
    raw = json.dumps({"model": "M", "prompt": ["one", "two"], "max_tokens": 5, "echo": True}).encode()
    asked = structs.replace(job(NOVA, stream=False), dialect=COMPLETIONS, body=raw, choices=2)
    made = Bedrock().open(asked, model(NOVA), {})
    bodies = []
    for one in made:
        status, body = await call(upstream, one.request(account(server)))
        assert status == 200
        bodies.append(one.answer(body))
    assert bodies[0] == b""
    answer = json.loads(bodies[1])
    assert [choice["text"] for choice in answer["choices"]] == ["oneHi", "twoHi"]
    assert answer["usage"]["total_tokens"] == 24
    assert [seen.body["messages"][0]["content"][0]["text"] for seen in server.calls] == ["one", "two"]
