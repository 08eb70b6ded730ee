"""What holds for embeddings in every family: strict providers take each call, and callers cannot tell who answered."""

import base64
import json
import math
import random
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from openai.types import CreateEmbeddingResponse

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.catalogue.profiles import profiled
from schemas.chat.priced import RequestError
from schemas.dialects import NAMED
from schemas.embeddings import priced
from schemas.errors import WireError
from schemas.money.pricing import NO_USAGE, TokenUsage
from tests.fakes import embeddings as fakes
from tests.fakes.worker import job as any_job
from workers.calls.factors import Factors
from workers.calls.tries import Tries
from workers.providers import family
from workers.providers.base import Action, Exchange, Headed, Laborious, RefusedError, Yielding

ACCOUNT = AccountSettings(id="a", api_key="k", region="us-east-1", access_key_id="A", secret_access_key="s")
LOCAL = msgspec.structs.replace(ACCOUNT, base_url="http://local/v1")
DIALECT = NAMED["embeddings"]
TEXTS = ["sea", "Grüße 日本", "x" * 99]

Answered = tuple[dict[str, Any], dict[str, str]]


class Case(msgspec.Struct, frozen=True):
    """One family's model: how many inputs a call of it takes, and how its provider refuses and answers."""

    profile: str
    upstream: str
    batch: int
    size: int
    small: int | None
    refuse: Callable[[dict[str, Any]], str]
    answer: Callable[[dict[str, Any]], Answered]

    @property
    def model(self) -> Model:
        """Its row."""
        return Model(
            id="M",
            pool="p",
            provider=self.profile,
            upstream=self.upstream,
            context=8_192,
            max_output=0,
            capabilities=profiled(self.profile, self.upstream),
        )


def _bedrock(upstream: str, batch: int, size: int, small: int | None) -> Case:
    return Case(
        "bedrock",
        upstream,
        batch,
        size,
        small,
        lambda body: fakes.refused_by_bedrock(upstream, body),
        lambda body: fakes.bedrock_answer(upstream, body),
    )


def _openai(upstream: str, size: int, small: int | None) -> Case:
    return Case(
        "openai",
        upstream,
        2_048,
        size,
        small,
        fakes.refused_by_openai,
        lambda body: (fakes.openai_answer(body), {}),
    )


CASES = (
    _openai("text-embedding-3-small", 1_536, 256),
    _openai("text-embedding-ada-002", 1_536, None),
    Case(
        "gemini",
        "gemini-embedding-001",
        100,
        3_072,
        768,
        lambda body: fakes.refused_by_gemini("gemini-embedding-001", body),
        lambda body: (fakes.gemini_answer(body), {}),
    ),
    _bedrock("amazon.titan-embed-text-v2:0", 1, 1_024, 256),
    _bedrock("amazon.titan-embed-text-v1", 1, 1_536, None),
    _bedrock("us.cohere.embed-v4:0", 96, 1_536, 256),
    _bedrock("cohere.embed-english-v3", 96, 1_024, None),
)
OPENAI = CASES[0]
every_case = pytest.mark.parametrize("case", CASES, ids=[case.upstream for case in CASES])


def job(case: Case, **body: Any) -> Job:
    """The job of a body, as an edge would make it."""
    raw = json.dumps({"model": "M", **body}).encode()
    fields = DIALECT.decode(raw)
    ask = DIALECT.read(fields)
    bound = DIALECT.bound(fields, ask, case.model)
    return any_job(
        DIALECT.encode(fields),
        dialect="embeddings",
        model="M",
        upstream=case.upstream,
        limit=0,
        prompt_max=bound.prompt_max,
        text_bytes=bound.text_bytes,
        include_cost=ask.include_cost,
    )


def admitted(case: Case, body: dict[str, Any]) -> Job | WireError:
    """The job of a body, or why there is none."""
    try:
        return job(case, **body)
    except RequestError as refused:
        return refused.error


def play(
    case: Case, of: Job, exchanges: list[Exchange], account: AccountSettings = ACCOUNT
) -> tuple[bytes, TokenUsage]:
    """The caller's body and the bill, each call taken by the strict provider."""
    out, tries = b"", Tries(of, Factors())
    for exchange in exchanges:
        request = exchange.request(account)
        body = json.loads(request.body)
        assert not case.refuse(body), case.refuse(body)
        answered, headers = case.answer(body)
        if isinstance(exchange, Headed):
            exchange.head({name.lower(): value for name, value in headers.items()})
        assert not out
        out = exchange.answer(json.dumps(answered).encode())
        assert exchange.fault is None
        assert exchange.finished
        tries.record(
            exchange, account_id="a", status=200, fault=None, exchanges=len(exchanges), caller_left=False
        )
    return out, tries.usage


def served(case: Case, **body: Any) -> tuple[dict[str, Any], TokenUsage]:
    """What a caller gets for a body, valid for the official SDK's types, and the bill."""
    of = job(case, **body)
    out, usage = play(case, of, family(case.profile).open(of, case.model, {}))
    if body.get("encoding_format") != "base64":
        CreateEmbeddingResponse.model_validate_json(out)
    return json.loads(out), usage


def numbers(entry: dict[str, Any]) -> list[float]:
    """The vector of an entry, in either form."""
    value = entry["embedding"]
    if isinstance(value, str):
        data = base64.b64decode(value)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    return list(value)


@every_case
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_vectors_come_in_the_order_and_form_that_was_asked_for(case: Case, encoding: str) -> None:
    """One entry an input, in their order, to the float32; the model is the caller's name; usage is the provider's."""
    answer, usage = served(case, input=TEXTS, encoding_format=encoding)
    assert (answer["object"], answer["model"]) == ("list", "M")
    assert [(entry["object"], entry["index"]) for entry in answer["data"]] == [
        ("embedding", at) for at in range(3)
    ]
    assert [numbers(entry) for entry in answer["data"]] == [fakes.vector(text, case.size) for text in TEXTS]
    assert all(isinstance(entry["embedding"], str) == (encoding == "base64") for entry in answer["data"])
    count = sum(map(fakes.tokens, TEXTS))
    assert answer["usage"] == {"prompt_tokens": count, "total_tokens": count}
    assert usage == TokenUsage(input=count)


@every_case
def test_batches_are_split_and_put_together(case: Case) -> None:
    """More inputs than one call takes become several calls, whose vectors keep their order and whose usage is summed."""
    texts = [f"text {index}" for index in range(min(2 * case.batch + 1, 201))]
    of = job(case, input=texts, encoding_format="base64")
    exchanges = family(case.profile).open(of, case.model, {})
    assert len(exchanges) == -(-len(texts) // case.batch)
    out, usage = play(case, of, exchanges)
    answer = json.loads(out)
    assert [entry["index"] for entry in answer["data"]] == list(range(len(texts)))
    assert [numbers(entry) for entry in answer["data"]] == [fakes.vector(text, case.size) for text in texts]
    assert answer["usage"]["total_tokens"] == usage.prompt == sum(map(fakes.tokens, texts))


@every_case
def test_dimensions_are_passed_on_where_there_is_a_choice(case: Case) -> None:
    """A smaller size is asked for; the model's own is never told to a provider that knows no other."""
    for size in (case.size, case.small):
        if size is not None:
            answer, _ = served(case, input="sea", dimensions=size)
            found = numbers(answer["data"][0])
            assert len(found) == size
            assert math.hypot(*found) == pytest.approx(1, abs=1e-6)


@every_case
def test_what_nobody_counted_is_estimated(case: Case) -> None:
    """Where a provider reports no usage, the answer shows what is billed, and both are within the bound."""
    if "titan" in case.upstream:
        return  # it counts each text in its body
    texts = [f"{fakes.UNCOUNTED} {index}" for index in range(case.batch % 2_047 + 5)]
    of = job(case, input=texts, encoding_format="base64")
    out, usage = play(case, of, family(case.profile).open(of, case.model, {}))
    assert json.loads(out)["usage"]["prompt_tokens"] == usage.prompt
    assert 0 < usage.prompt <= of.prompt_max
    assert usage.completion == 0


@every_case
def test_another_try_starts_afresh(case: Case) -> None:
    """After an answer that was thrown away the next account's gives the whole body, once."""
    of = job(case, input=TEXTS)
    exchanges = family(case.profile).open(of, case.model, {})
    first = exchanges[0].request(ACCOUNT)
    exchanges[0].answer(b"{}")
    assert exchanges[0].fault is not None
    assert exchanges[0].request(ACCOUNT).body == first.body
    out, _ = play(case, of, exchanges)
    assert len(json.loads(out)["data"]) == 3


@every_case
@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b"<html>", b'{"data":[]}', b'{"embeddings":[]}', b"[" * 9_000]
)
def test_nonsense_is_a_fault(case: Case, body: bytes) -> None:
    """An answer without the vectors is a fault that bills nobody by usage, never an exception, never a 200 without data."""
    (exchange, *_) = family(case.profile).open(job(case, input="a"), case.model, {})
    exchange.request(ACCOUNT)
    assert exchange.answer(body) == b""
    assert exchange.fault is not None
    assert exchange.fault.error.status == 502
    assert not exchange.finished
    assert isinstance(exchange, Laborious)


def test_vectors_of_another_size_are_no_answer() -> None:
    """A server that ignores `dimensions`, leaves inputs out or repeats one would spoil its caller's index: a 502."""
    case = OPENAI
    for change in (
        lambda data: data[:1],
        lambda data: [data[0], data[0]],
        lambda data: [entry | {"embedding": [0.5] * 300} for entry in data],
        lambda data: [entry | {"embedding": [1e39] * 256} for entry in data],
        lambda data: [entry | {"embedding": "!!"} for entry in data],
        lambda data: [
            entry | {"embedding": base64.b64encode(b"\x00\x00\x80\x7f" * 256).decode()} for entry in data
        ],
        lambda data: [entry | {"embedding": ""} for entry in data],
    ):
        (exchange,) = family("openai").open(job(case, input=["a", "b"], dimensions=256), case.model, {})
        answer = fakes.openai_answer(json.loads(exchange.request(ACCOUNT).body))
        assert exchange.answer(json.dumps(answer | {"data": change(answer["data"])}).encode()) == b""
        assert exchange.fault is not None
        assert (exchange.fault.error.status, exchange.fault.unbilled) == (502, False)


def test_entries_out_of_order_are_put_in_order() -> None:
    """An entry's index says whose vector it is."""
    (exchange,) = family("openai").open(job(OPENAI, input=TEXTS), OPENAI.model, {})
    answer = fakes.openai_answer(json.loads(exchange.request(ACCOUNT).body))
    answer["data"].reverse()
    out = json.loads(exchange.answer(json.dumps(answer).encode()))
    assert [numbers(entry) for entry in out["data"]] == [fakes.vector(text, 1_536) for text in TEXTS]


def test_a_server_without_base64_is_asked_for_numbers() -> None:
    """Its refusal is answered with the same call for numbers; from then on it is asked for those at once."""
    made = family("openai")
    for known in (False, True):
        (exchange,) = made.open(job(OPENAI, input="a", encoding_format="base64"), OPENAI.model, {})
        request = exchange.request(LOCAL)
        assert isinstance(exchange, Yielding)
        if not known:
            assert json.loads(request.body)["encoding_format"] == "base64"
            again = exchange.without(422, b'{"detail":"encoding_format: extra fields not permitted"}')
            assert again is not None
            request = again
            exchange.taken()
        body = json.loads(request.body)
        assert body.keys() == {"model", "input"}
        assert exchange.without(400, b"encoding_format") is None
        out = json.loads(exchange.answer(json.dumps(fakes.openai_answer(body)).encode()))
        assert numbers(out["data"][0]) == fakes.vector("a", 1_536)
    (other,) = made.open(job(OPENAI, input="a"), OPENAI.model, {})
    other.request(LOCAL)
    assert isinstance(other, Yielding)
    assert other.without(400, b'{"error":{"message":"too long"}}') is None


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 7, "total_tokens": 7}, 7),
        ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}, 7),
        ({"total_tokens": 9}, 9),
        ({"prompt_tokens": 0, "total_tokens": 9}, 9),
        ({"prompt_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": -1}, None),
        (None, None),
        ("many", None),
    ],
)
def test_usage_of_compatible_servers(usage: Any, tokens: int | None) -> None:
    """Vectors are no output, a total alone is the prompt, and nothing, or nonsense, is estimated."""
    (exchange,) = family("openai").open(job(OPENAI, input="a"), OPENAI.model, {})
    answer = fakes.openai_answer(json.loads(exchange.request(LOCAL).body)) | {"usage": usage}
    assert exchange.answer(json.dumps(answer).encode())
    assert exchange.usage == (None if tokens is None else TokenUsage(input=tokens))


def test_an_error_inside_a_200_is_an_error() -> None:
    """In OpenAI's words and in Google's."""
    (exchange,) = family("openai").open(job(OPENAI, input="a"), OPENAI.model, {})
    exchange.request(LOCAL)
    exchange.answer(b'{"error":{"message":"overloaded","type":"server_error","code":"server_is_overloaded"}}')
    assert exchange.fault is not None
    assert exchange.fault.error.status == 503
    gemini = CASES[2]
    (exchange,) = family("gemini").open(job(gemini, input="a"), gemini.model, {})
    exchange.request(ACCOUNT)
    exchange.answer(b'{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}')
    assert exchange.fault is not None
    assert exchange.fault.error.status == 503


def test_hints_reach_the_families_that_have_them() -> None:
    """What the vectors are for is told to Gemini and Cohere in their own fields; Cohere is told of documents otherwise."""
    gemini, cohere = CASES[2], CASES[5]
    (exchange,) = family("gemini").open(job(gemini, input="a", task_type="CLUSTERING"), gemini.model, {})
    (one,) = json.loads(exchange.request(ACCOUNT).body)["requests"]
    assert one["taskType"] == "CLUSTERING"
    for hint, told in ((None, "search_document"), ("search_query", "search_query")):
        (exchange,) = family("bedrock").open(job(cohere, input="a", input_type=hint), cohere.model, {})
        assert json.loads(exchange.request(ACCOUNT).body)["input_type"] == told


def test_token_ids_pass_through_as_they_are() -> None:
    """OpenAI gets the caller's own arrays, split where a batch is; no other family gets any."""
    (exchange,) = family("openai").open(job(OPENAI, input=[[1, 2], [3]], user="u"), OPENAI.model, {})
    assert json.loads(exchange.request(ACCOUNT).body) == {
        "model": OPENAI.upstream,
        "input": [[1, 2], [3]],
        "encoding_format": "base64",
        "user": "u",
    }
    for case in CASES[2:]:
        of = any_job({"model": "M", "input": [1, 2]}, dialect="embeddings", upstream=case.upstream)
        with pytest.raises(RefusedError):
            family(case.profile).open(of, case.model, {})


def test_large_answers_are_asked_for_in_more_calls() -> None:
    """What would be more than a worker reads, if it came as numbers, is two calls."""
    large = _openai("text-embedding-3-large", 3_072, None)
    of = job(large, input=["x"] * 2_000, encoding_format="base64")
    exchanges = family("openai").open(of, large.model, {})
    assert len(exchanges) > 1
    sizes = [len(json.loads(exchange.request(ACCOUNT).body)["input"]) for exchange in exchanges]
    assert sum(sizes) == 2_000
    assert max(sizes) * 3_072 * priced.FLOAT_BYTES_MAX < 64 * 1024 * 1024


def test_the_callers_fault_is_one_in_every_family() -> None:
    """A refused input stops the call: no other account is asked, and nothing of it is billed."""
    errors = {
        "openai": {"error": {"message": "no", "type": "invalid_request_error"}},
        "gemini": {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}},
        "bedrock": {"message": "no"},
    }
    for name, body in errors.items():
        fault = family(name).fault(
            400, {"x-amzn-errortype": "ValidationException"}, json.dumps(body).encode()
        )
        assert (fault.action, fault.unbilled, fault.error.status) == (Action.STOP, True, 400)


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_any_body_is_a_400_or_an_answer(count: int) -> None:
    """Whatever is sent, it is refused with a `param` before any hold, or a strict provider takes it and it is answered."""
    rng = random.Random(7)
    answered = 0
    for _ in range(count):
        body, case = fakes.any_body(rng), rng.choice(CASES)
        of = admitted(case, body)
        if isinstance(of, WireError):
            assert (of.status, bool(of.param)) == (400, True), body
            continue
        out, usage = play(case, of, family(case.profile).open(of, case.model, {}))
        assert json.loads(out)["data"], body
        assert usage is not NO_USAGE, body
        assert usage.prompt <= of.prompt_max, body
        answered += 1
    assert count // 10 < answered < count * 9 // 10
