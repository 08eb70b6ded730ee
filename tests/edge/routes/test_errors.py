"""Errors of an edge: each has OpenAI's shape, its status, and the place in the order of checks that it should have."""

import asyncio
import json
from typing import Any

import httpx
import msgspec
import openai
import pytest

from schemas import keys
from schemas.catalogue.unrouted import Unrouted
from schemas.errors import saturated, upstream_failed
from schemas.verbs.calls import AUTHORISE, RELEASE, Reason, Refusal
from schemas.verbs.keys import KEY
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, until

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hi"}]
BODY = {"model": "tokn-sandbox", "messages": MESSAGES}


def fault(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The inner object of an error, after what every error must have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]
    return dict(error)


@pytest.mark.parametrize(
    "path",
    ["/v1/", "/v1", "/v1/audio/speech", "/v2/models", "/v1/chat/completions/", "/docs/", "/v1/models/"],
)
async def test_unknown_path(rig: Rig, path: str) -> None:
    """A path that is not a route is a 404 that names method and path."""
    for method in ("GET", "POST", "DELETE"):
        if path == "/v1/models/" and method != "GET":
            continue
        error = fault(await rig.http.request(method, path), 404)
        assert path in error["message"]
        assert error["code"] == "unknown_url"
        assert "GET /v1/models" in error["message"]


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("//v1/chat/completions", "/v1/chat/completions"),
        ("/v1/completions/", "/v1/completions"),
        ("/models", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("/v1/chat", None),
        ("/docs/", None),
        ("/metrics/", None),
    ],
)
async def test_did_you_mean(rig: Rig, path: str, meant: str | None) -> None:
    """A base URL without /v1, or with two, is the most common slip: the 404 says which path was meant, and no other."""
    message = fault(await rig.http.get(path), 404)["message"]
    assert (f"Did you mean {meant}?" in message) if meant else ("Did you mean" not in message)
    assert "metrics" not in message.replace(path, "")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", CHAT),
        ("PUT", "/v1/completions"),
        ("POST", "/v1/models"),
        ("DELETE", "/v1/models/x"),
        ("OPTIONS", CHAT),
    ],
)
async def test_wrong_method(rig: Rig, method: str, path: str) -> None:
    """A route's other methods are a 405 that says which are allowed."""
    answer = await rig.http.request(method, path)
    fault(answer, 405)
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer sk-wrong", "invalid_api_key"),
        ("Basic dXNlcjpwYXNz", "invalid_api_key"),
        ("Bearer tokn_" + "a" * 38, "invalid_api_key"),
        ("Bearer " + "x" * 5000, "invalid_api_key"),
        ("Bearer t\u00f6kn_" + "a" * 37, "invalid_api_key"),
    ],
)
async def test_bad_keys(rig: Rig, header: str | None, code: str | None) -> None:
    """A key that is missing or malformed is a 401 on every route that needs one, without asking the ledger."""
    headers = {} if header is None else {b"authorization": header.encode()}
    async with httpx.AsyncClient(base_url=rig.url, timeout=60) as bare:
        for method, path in (
            ("POST", CHAT),
            ("GET", "/v1/models"),
            ("GET", "/v1/models/x"),
            ("GET", "/v1/generations/x"),
        ):
            error = fault(await bare.request(method, path, headers=headers), 401)
            assert error["code"] == code
    assert not rig.ledger.of(KEY)
    assert not rig.ledger.of(AUTHORISE)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", CHAT, BODY),
        ("POST", CHAT, {"model": "nope", "messages": MESSAGES}),
        ("POST", CHAT, {"model": "nope"}),
        ("POST", CHAT, {"model": "tokn-sandbox", "messages": MESSAGES, "user": "x" * 100_000}),
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/tokn-sandbox", None),
        ("GET", "/v1/generations/req_1", None),
    ],
)
async def test_unknown_key_comes_before_everything_else(
    rig: Rig, method: str, path: str, body: object
) -> None:
    """A well-formed key that the ledger does not know gets 401, whatever else is wrong."""
    answer = await rig.http.request(
        method, path, json=body, headers={"authorization": f"Bearer {keys.generate()}"}
    )
    assert fault(answer, 401)["code"] == "invalid_api_key"


async def test_large_body_is_not_read_for_an_unknown_key(rig: Rig) -> None:
    """More than 64 KiB of a body, declared or chunked, is read only after the ledger knows the key."""
    key = keys.generate()
    for framing in (
        b"Content-Length: 1000000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n12000\r\n" + b"x" * 0x12000 + b"\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
        writer.write(
            b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % (CHAT.encode(), key.encode())
            + framing
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 401 ")
        writer.close()


INVALID: list[tuple[object, str | None]] = [
    ([], None),
    ({}, "model"),
    ({"model": 5, "messages": MESSAGES}, "model"),
    ({"model": "", "messages": MESSAGES}, "model"),
    ({"model": "a\x00b", "messages": MESSAGES}, "model"),
    ({"model": "a\r\nb", "messages": MESSAGES}, "model"),
    ({"model": "tokn-sandbox"}, "messages"),
    ({"model": "tokn-sandbox", "messages": []}, "messages"),
    ({"model": "tokn-sandbox", "messages": "hi"}, "messages"),
    (BODY | {"n": 0}, "n"),
    (BODY | {"n": 129}, "n"),
    (BODY | {"n": 1.5}, "n"),
    (BODY | {"max_tokens": -1}, "max_tokens"),
    (BODY | {"max_tokens": 0}, "max_tokens"),
    (BODY | {"max_tokens": 2**63}, "max_tokens"),
    (BODY | {"max_completion_tokens": 10**40}, "max_completion_tokens"),
    (BODY | {"max_tokens": "7"}, "max_tokens"),
    (BODY | {"stream": "yes"}, "stream"),
    (BODY | {"stream_options": {"include_usage": True}}, "stream_options"),
    (BODY | {"stream": True, "stream_options": {"include_usage": "x"}}, "stream_options"),
    (BODY | {"usage": 5}, "usage"),
    (BODY | {"web_search_options": {}}, "web_search_options"),
    (BODY | {"service_tier": "priority"}, "service_tier"),
]


@pytest.mark.parametrize(("body", "param"), INVALID, ids=lambda value: str(value)[:60])
async def test_invalid_bodies(rig: Rig, body: object, param: str | None) -> None:
    """What cannot be priced is a 400 that names its parameter; no hold is asked for."""
    # The standard library's encoder: msgspec encodes no integer beyond 64 bits.
    error = fault(await rig.http.post(CHAT, content=json.dumps(body)), 400)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert not rig.ledger.of(AUTHORISE)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{",
        b'{"model":"x"',
        b"\xff\xfe",
        b'{"model":"tokn-sandbox","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"tokn-sandbox","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
        b'{"model":"tokn-sandbox","messages":[{"role":"user","content":NaN}]}',
    ],
    ids=lambda body: str(body[:24]),
)
async def test_bodies_that_are_not_json(rig: Rig, body: bytes) -> None:
    """Nesting that overflows the stack and bytes that are not UTF-8 are 400s like any other nonsense."""
    fault(await rig.http.post(CHAT, content=body), 400)


async def test_duplicate_keys_are_refused(rig: Rig) -> None:
    """What was priced is what is sent: a name that is there twice is a 400 that names it, and nothing is held."""
    answer = await rig.http.post(
        CHAT, content=b'{"model":"gpt-4o","model":"tokn-sandbox","messages":[{"role":"user","content":"hi"}]}'
    )
    assert fault(answer, 400)["param"] == "model"
    inner = b'{"model":"tokn-sandbox","messages":[{"role":"user","content":"hi","content":"ho"}]}'
    assert fault(await rig.http.post(CHAT, content=inner), 400)["param"] == "messages[0].content"
    assert not rig.ledger.of(AUTHORISE)
    assert not rig.worker.attempts


@pytest.mark.parametrize(
    ("modes", "paths"),
    [
        (("responses",), "/v1/responses only"),
        (("embeddings",), "/v1/embeddings only"),
        (("responses", "embeddings"), "/v1/responses and /v1/embeddings only"),
    ],
)
async def test_a_model_that_no_route_serves(rig: Rig, modes: tuple[str, ...], paths: str) -> None:
    """It is a 400 before any hold on every route of calls, that names its own routes; it is not listed, nor found there."""
    rig.ledger.unrouted = (Unrouted("openai/far", modes), Unrouted("far", modes))
    for name in ("far", "openai/far"):
        for answer in (
            await rig.chat(model=name),
            await rig.chat(model=name, stream=True),
            await rig.http.post("/v1/completions", json={"model": name, "prompt": "hi"}),
        ):
            error = fault(answer, 400)
            assert (error["type"], error["param"]) == ("invalid_request_error", "model")
            assert paths in error["message"]
            assert f"`{name}`" in error["message"]
        missing = fault(await rig.http.get(f"/v1/models/{name}"), 404)
        assert (missing["code"], paths in missing["message"]) == ("model_not_found", True)
    assert not rig.ledger.of(AUTHORISE)
    assert "far" not in (await rig.http.get("/v1/models")).text
    mixed = await rig.chat(model="far", models=["tokn-sandbox"])
    assert mixed.status_code == 200
    rig.ledger.active = False
    assert (await rig.chat(model="far")).status_code == 401


async def test_unknown_model(rig: Rig) -> None:
    """A model without a row is a 404 with param model."""
    error = fault(await rig.chat(model="gpt-99"), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


async def test_gone_model_names_its_successor(rig: Rig) -> None:
    """A model of which its provider says that it is gone is a 404 that names the successor."""
    turbo = next(one for one in rig.ledger.models if one.id == "gpt-4-turbo")
    rig.ledger.models += (
        msgspec.structs.replace(turbo, id="gpt-5.6-sol", upstream="gpt-5.6-sol", shutdown_date=None),
    )
    await rig.edge.catalogue.find("gpt-5.6-sol")
    worker = await rig.add_worker("openai", ("gpt-5.6-sol",))
    worker.gone = ("gpt-4-turbo",)
    worker.beat()
    while not rig.edge.roster.gone("openai", "gpt-4-turbo"):
        await asyncio.sleep(0.01)
    error = fault(await rig.chat(model="gpt-4-turbo"), 404)
    assert "gpt-5.6-sol" in error["message"]
    fault(await rig.http.get("/v1/models/gpt-4-turbo"), 404)


async def test_model_without_a_worker(rig: Rig) -> None:
    """A model of a pool without a worker that serves it now is a 429 with Retry-After, and its hold is released."""
    worker = await rig.add_worker("openai", ("gpt-4o",))
    await until(lambda: rig.edge.roster.serves("openai", "gpt-4o"))
    await worker.die()
    await until(lambda: rig.edge.roster.silent("openai"))
    answer = await rig.chat(model="gpt-4o")
    assert fault(answer, 429)["code"] == "rate_limit_exceeded"
    assert int(answer.headers["retry-after"]) >= 1
    await until(lambda: len(rig.ledger.of(RELEASE)) == 1)


@pytest.mark.parametrize(
    ("model", "variables"),
    [
        ("gpt-4o", ["OPENAI_API_KEY"]),
        ("claude-3-haiku-20240307", ["ANTHROPIC_API_KEY"]),
        ("gemini-1.5-pro-latest", ["GEMINI_API_KEY"]),
        ("amazon.titan-text-express-v1", ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION"]),
    ],
)
async def test_model_of_a_pool_that_is_not_configured(rig: Rig, model: str, variables: list[str]) -> None:
    """It is a 404 before any hold that says which variables to set and what needs none, and that no SDK retries."""
    for answer in (await rig.chat(model=model), await rig.http.get(f"/v1/models/{model}")):
        error = fault(answer, 404)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers
        for word in (*variables, "`tokn-sandbox`", f"`{model}`"):
            assert word in error["message"]
    assert not rig.ledger.of(AUTHORISE)
    rig.ledger.active = False
    assert (await rig.chat(model=model)).status_code == 401


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (Refusal(Reason.UNKNOWN_KEY), 401, "invalid_api_key"),
        (Refusal(Reason.UNKNOWN_MODEL), 404, "model_not_found"),
        (Refusal(Reason.PROVIDER_DENIED), 403, "model_not_allowed"),
        (Refusal(Reason.INSUFFICIENT, 5, 3, 9, 0), 402, "insufficient_balance"),
        (Refusal(Reason.BACKLOG), 503, None),
        (Refusal(Reason.MODEL_DENIED), 403, "model_not_allowed"),
        (Refusal(Reason.PAUSED), 403, "key_paused"),
        (Refusal(Reason.SUSPENDED), 403, "organization_suspended"),
        (Refusal(Reason.EXPIRED, expired_ms=1_795_000_000_000), 401, "invalid_api_key"),
        (Refusal("a word of a later version"), 503, None),
    ],
)
async def test_refusals_of_the_ledger(rig: Rig, refusal: Refusal, status: int, code: str | None) -> None:
    """Each reason of the ledger has its status and code."""
    rig.ledger.refusal = refusal
    assert fault(await rig.chat(), status)["code"] == code


async def test_short_balance_says_what_would_fit(rig: Rig) -> None:
    """A 402 names balance, held, required and the limit that fits, and asks not to be retried."""
    rig.ledger.refusal = Refusal(Reason.INSUFFICIENT, 1_500_000_000, 250_000_000, 2_000_000_001, 123)
    answer = await rig.chat(max_tokens=4000)
    error = fault(answer, 402)
    assert error["type"] == "billing_error"
    assert answer.headers["x-should-retry"] == "false"
    for figure in ("1.50 USD", "0.25 USD", "2.000000001 USD", "123"):
        assert figure in error["message"]


@pytest.mark.parametrize(
    "rig", [msgspec.structs.replace(FAST, body_bytes=200_000, buffered_bytes=300_000)], indirect=True
)
async def test_too_large_and_too_much(rig: Rig) -> None:
    """A body above the limit is a 413, declared or chunked; bodies above what all callers may buffer are a 503."""

    async def pieces() -> Any:
        for _ in range(30):
            yield b"x" * 10_000

    fault(await rig.http.post(CHAT, content=b"x" * 200_001), 413)
    fault(await rig.http.post(CHAT, content=pieces()), 413)
    assert rig.edge.budget.used == 0
    rig.edge.budget.take(299_000)
    answer = await rig.http.post(CHAT, content=b"x" * 2000)
    fault(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert rig.edge.budget.used == 299_000


async def test_worker_failure_before_the_first_byte_is_a_status(rig: Rig) -> None:
    """A worker's error is the caller's HTTP error while nothing was sent, streamed or not, with its Retry-After."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.fail(upstream_failed(retry_after_s=2.5))

    rig.worker.script = script
    for stream in (False, True):
        answer = await rig.chat(stream=stream)
        assert fault(answer, 502)["code"] == "upstream_error"
        assert answer.headers["retry-after"] == "3"
        assert answer.headers["retry-after-ms"] == "2500"


async def test_sdk_error_classes(rig: Rig) -> None:
    """Each status reaches a user of the official SDK as its own class, with message, type, param and code."""
    client = openai.AsyncOpenAI(api_key=rig.ledger.key, base_url=f"{rig.url}/v1", max_retries=0)

    async def call(**more: Any) -> Any:
        return await client.chat.completions.create(
            **({"model": "tokn-sandbox", "messages": MESSAGES} | more)
        )

    with pytest.raises(openai.BadRequestError) as invalid:
        await call(n=0)
    assert (invalid.value.param, invalid.value.code, invalid.value.type) == (
        "n",
        "invalid_value",
        "invalid_request_error",
    )
    assert invalid.value.request_id is not None
    with pytest.raises(openai.NotFoundError) as unknown:
        await call(model="nope")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="sk-wrong").models.list()
    rig.ledger.refusal = Refusal(Reason.PROVIDER_DENIED)
    with pytest.raises(openai.PermissionDeniedError):
        await call()
    rig.ledger.refusal = Refusal(Reason.INSUFFICIENT)
    with pytest.raises(openai.APIStatusError) as short:
        await call()
    assert (short.value.status_code, short.value.code) == (402, "insufficient_balance")
    rig.ledger.refusal = None
    for error, kind in (
        (saturated("full"), openai.RateLimitError),
        (upstream_failed(), openai.InternalServerError),
    ):

        async def script(attempt: Attempt, error: Any = error) -> None:
            attempt.accept()
            attempt.fail(error)

        rig.worker.script = script
        with pytest.raises(kind) as failed:
            await call()
        assert failed.value.message.endswith(error.message) or error.message in failed.value.message
    await client.close()
