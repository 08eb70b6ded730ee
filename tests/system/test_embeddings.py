"""Owns what callers of /v1/embeddings see over the whole path: the official SDK, every family, and their bills."""

import base64
import json
import struct
from decimal import ROUND_HALF_EVEN, Decimal
from http.client import HTTPConnection
from typing import Any

import httpx
import openai
import pytest

from tests.fakes import embeddings as fakes
from tests.fakes.bedrock import Reply
from tests.fakes.bedrock import _default as bedrock_default
from tests.fakes.families import RATE, pool_toml, stages
from tests.fakes.node import NodeSdk
from tests.fakes.receipts import receipt
from tests.fakes.stages import Error
from tests.fakes.tokn import Tokn, wait_for
from workers.providers.embedding import TOGETHER_MAX
from workers.providers.sandbox.vectors import vector

pytestmark = pytest.mark.system

# A model of each family and form, the size of its vectors, and its list price in USD per million tokens.
MODELS = {
    "text-embedding-3-small": (1_536, "0.02"),
    "gemini-embedding-001": (3_072, "0.15"),
    "amazon.titan-embed-text-v2:0": (1_024, "0.02"),
    "bedrock/cohere.embed-v4:0": (1_536, "0.12"),
}
TEXTS = ["the sea", "Grüße 日本", "x" * 99]
every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module")
def played():
    """One fake of each provider."""
    with stages() as made:
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with the families that embed, at the built-in rows, and the sandbox."""
    config = "".join(
        pool_toml(name, name, [played[name][0].account]) for name in ("openai", "gemini", "bedrock")
    )
    config += '[pools.sandbox]\nprovider = "sandbox"\nwords_per_s = 0\n'
    with Tokn(tmp_path_factory.mktemp("embeddings") / "data", config) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def sdk(tokn):
    """OpenAI's own SDK, which asks for base64 unless it is told otherwise."""
    with openai.OpenAI(api_key=tokn.key, base_url=f"{tokn.url}/v1", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def http(tokn):
    """A client with the key and nothing else."""
    headers = {"Authorization": f"Bearer {tokn.key}"}
    with httpx.Client(base_url=tokn.url, headers=headers, timeout=60) as client:
        yield client


def billed_nano(tokens: int, usd_per_million: str, rate: Decimal = RATE) -> int:
    """What so many tokens cost, worked out apart from the gateway's own arithmetic."""
    return int((tokens * Decimal(usd_per_million) * 1_000 * rate).quantize(Decimal(1), ROUND_HALF_EVEN))


@every_model
def test_the_sdk_gets_each_familys_vectors(sdk, http, name):
    """By default and as numbers: the same vectors, in order, and a bill of the provider's count, to the nano."""
    size, usd = MODELS[name]
    for more in ({}, {"encoding_format": "float"}):
        raw = sdk.embeddings.with_raw_response.create(model=name, input=TEXTS, **more)
        answer = raw.parse()
        assert [list(one.embedding) for one in answer.data] == [fakes.vector(text, size) for text in TEXTS]
        assert [one.index for one in answer.data] == [0, 1, 2]
        assert answer.model == name
        count = sum(map(fakes.tokens, TEXTS))
        assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (count, count)
        paid = receipt(http, raw.headers["x-request-id"])
        assert paid["billed_nano"] == billed_nano(count, usd)
        assert (paid["known"], paid["outcome"]) == ("reported", "ok")
        assert {key: value for key, value in paid["tokens"].items() if value} == {"input": count}


def test_the_node_sdk_gets_the_same_vectors(tokn):
    """It asks for base64 by itself, and would take numbers in their place for no vectors at all, without an error."""
    with NodeSdk(tokn.url) as node:
        for more in ({}, {"encoding_format": "float"}):
            answer = node.call(
                "embeddings", {"model": "gemini-embedding-001", "input": TEXTS, **more}, tokn.key
            )["ok"]
            assert [one["embedding"] for one in answer["data"]] == [
                fakes.vector(text, 3_072) for text in TEXTS
            ]


def test_the_sandbox_answers_every_form(sdk):
    """Without any credential: deterministic vectors of unit length, texts and token ids, of any size up to 1,536."""
    once, again = (sdk.embeddings.create(model="tokn-sandbox", input=["a", "b"]) for _ in range(2))
    assert [one.embedding for one in once.data] == [one.embedding for one in again.data]
    assert once.data[0].embedding != once.data[1].embedding
    assert len(once.data[0].embedding) == 1_536
    assert sum(value * value for value in once.data[0].embedding) == pytest.approx(1, abs=1e-6)
    ids = sdk.embeddings.create(model="tokn-sandbox", input=[[1, 2, 3], [4]], dimensions=3)
    assert [len(one.embedding) for one in ids.data] == [3, 3]
    assert ids.usage.prompt_tokens == 4


def test_known_bytes(http):
    """A body is to the byte what clients know: numbers by default, base64 where it is asked for, `cost` on demand."""
    asked = {"model": "tokn-sandbox", "input": "sea", "dimensions": 2}
    floats = struct.unpack("<2f", struct.pack("<2f", *vector(b'"sea"', 2)))
    tail = b'}],"model":"tokn-sandbox","usage":{"prompt_tokens":1,"total_tokens":1'
    head = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":'
    numbers = json.dumps(floats, separators=(",", ":")).encode()
    for more in ({}, {"encoding_format": "float"}, {"encoding_format": None}):
        assert http.post("/v1/embeddings", json=asked | more).content == head + numbers + tail + b"}}"
    packed = base64.b64encode(struct.pack("<2f", *floats))
    answer = http.post("/v1/embeddings", json=asked | {"encoding_format": "base64"})
    assert answer.content == head + b'"' + packed + b'"' + tail + b"}}"
    assert answer.headers["content-type"] == "application/json"
    priced = http.post("/v1/embeddings", json=asked | {"usage": {"include": True}}).json()
    assert Decimal(repr(priced["usage"]["cost"])) == Decimal("0.0000006")


def test_large_batches_arrive_whole(sdk, http, played):
    """A thousand inputs are megabytes in one answer, and two hundred of Gemini's are three calls: all in order, one bill."""
    texts = [f"text {index}" for index in range(1_000)]
    answer = sdk.embeddings.create(model="text-embedding-3-small", input=texts)
    assert [one.index for one in answer.data] == list(range(1_000))
    assert list(answer.data[-1].embedding) == fakes.vector(texts[-1], 1_536)
    gemini = played["gemini"][0]
    before = len(gemini.bodies)
    raw = sdk.embeddings.with_raw_response.create(
        model="gemini-embedding-001", input=texts[:201], dimensions=128
    )
    assert len(raw.parse().data) == 201
    assert [len(body["requests"]) for body in gemini.bodies[before:]] == [100, 100, 1]
    paid = receipt(http, raw.headers["x-request-id"])
    assert paid["billed_nano"] == billed_nano(sum(map(fakes.tokens, texts[:201])), "0.15")


def test_token_ids_go_to_whoever_reads_them(sdk):
    """OpenAI takes them as they are; a model of another family is a 400 that says what to send, and langchain's remedy."""
    answer = sdk.embeddings.create(model="text-embedding-3-small", input=[[1, 2, 3], [4]])
    assert list(answer.data[0].embedding) == fakes.vector([1, 2, 3], 1_536)
    assert answer.usage.prompt_tokens == 4
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.embeddings.create(model="gemini-embedding-001", input=[[1, 2, 3]])
    assert (refused.value.param, refused.value.code) == ("input", "unsupported_value")
    assert "check_embedding_ctx_length=False" in refused.value.message


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": "gpt-4o-mini"}, "model"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"dimensions": 4_000}, "dimensions"),
        ({"stream": True}, "stream"),
        ({"input_type": "query"}, "input_type"),
        ({"input": ["x"] * 2_000, "encoding_format": "float"}, "input"),
    ],
)
def test_what_cannot_be_honoured_is_a_400_without_a_hold(http, tokn, more, param):
    """The envelope names the field; nothing is held, so there is no receipt; a chat model's refusal names its route."""
    answer = http.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": "x"} | more)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert param != "model" or "/v1/chat/completions" in error["message"]
    assert http.get(f"/v1/generations/{answer.headers['x-request-id']}").status_code == 404


@every_model
def test_what_goes_no_further_is_named(http, played, name):
    """Unknown fields, at every family: the call is served and billed without them, and says so."""
    answer = http.post("/v1/embeddings", json={"model": name, "input": "x", "truncate": "END", "what": 1})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tokn-ignored"] == "truncate,what"
    assert receipt(http, answer.headers["x-request-id"])["billed_nano"] > 0
    assert not any({"truncate", "what"} & body.keys() for one in played.values() for body in one[0].bodies)


def test_an_input_that_is_too_long_is_the_inputs_fault(http, played):
    """What a provider says of its prompt is told of `input`, with OpenAI's code."""
    words = "400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: 9000"
    played["bedrock"][0].fail(Error(400, words, name="ValidationException"))
    answer = http.post("/v1/embeddings", json={"model": "amazon.titan-embed-text-v2:0", "input": "x"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "input", "context_length_exceeded")


def test_a_part_that_was_served_is_paid_for(http):
    """A text that its provider refuses after another was embedded is the caller's 400, and the other is billed."""
    body = {"model": "amazon.titan-embed-text-v2:0", "input": ["x" * 400, fakes.REFUSED]}
    answer = http.post("/v1/embeddings", json=body)
    assert answer.status_code == 400
    paid = receipt(http, answer.headers["x-request-id"])
    assert (paid["outcome"], paid["billed_nano"]) == ("failed", billed_nano(100, "0.02"))
    answer = http.post("/v1/embeddings", json=body | {"input": [fakes.REFUSED, "x" * 400]})
    assert (answer.status_code, receipt(http, answer.headers["x-request-id"])["billed_nano"]) == (400, 0)


def test_a_caller_who_leaves_pays(tokn, played):
    """After a hang-up the calls under way are read to their ends, as their provider bills them; no further one is made."""
    bedrock = played["bedrock"][0]

    def slow(call: Any) -> Reply:
        return Reply(body=fakes.bedrock_answer(call.model, call.body)[0], delay_s=2.0)

    bedrock._queue += [bedrock_default, *[slow] * TOGETHER_MAX]
    key_id = tokn.key_id()
    before, calls = tokn.settled(key_id)["posted_nano"], len(bedrock.bodies)
    body = {"model": "amazon.titan-embed-text-v2:0", "input": ["x" * 4_000] * (1 + TOGETHER_MAX) + ["z"]}
    link = HTTPConnection("127.0.0.1", tokn.port, timeout=60)
    link.request("POST", "/v1/embeddings", json.dumps(body), {"Authorization": f"Bearer {tokn.key}"})
    asked = 1 + TOGETHER_MAX
    wait_for(lambda: len(bedrock.bodies) - calls == asked, 20, "all but the last text are asked for")
    link.close()
    assert before - tokn.settled(key_id, 30)["posted_nano"] == billed_nano(1_000 * asked, "0.02")
    assert len(bedrock.bodies) - calls == asked
