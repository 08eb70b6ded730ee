"""Owns what callers with the official OpenAI SDKs see, Python's and Node's: every route, every error class."""

import json
from typing import Any

import openai
import pytest

from tests.fakes.documents import pdf, tree
from tests.fakes.media import data_url, png
from tests.fakes.node import NodeSdk
from tests.fakes.tokn import Tokn, wait_for
from tests.fakes.upstream import pool_of_one, pool_toml

pytestmark = pytest.mark.system

SAY = [{"role": "user", "content": "hello"}]
MALFORMED_KEY = "tokn_nonsense"
UNKNOWN_KEY = "tokn_" + "0" * 38


class PythonSdk:
    """The Python SDK behind the same face as tests.fakes.node.NodeSdk."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def call(self, step: str, body: dict[str, Any] | None, key: str) -> dict[str, Any]:
        """Makes one call (chat, completions, models, model) with the SDK, without its own retries."""
        client = openai.OpenAI(api_key=key, base_url=f"{self.base_url}/v1", max_retries=0, timeout=60)
        try:
            return {"ok": self._step(client, step, body or {})}
        except openai.APIError as error:
            shown = {name: getattr(error, name, None) for name in ("type", "param", "code")}
            shown |= {"class": type(error).__name__, "message": error.message}
            shown |= {"status": getattr(error, "status_code", None)}
            shown |= {"requestID": getattr(error, "request_id", None)}
            return {"error": shown}
        finally:
            client.close()

    def _step(self, client: openai.OpenAI, step: str, body: dict[str, Any]) -> Any:
        if step == "models":
            return [model.model_dump() for model in client.models.list().data]
        if step == "model":
            return client.models.retrieve(body["id"]).model_dump()
        known = {"model", "messages", "prompt", "stream", "stream_options", "max_tokens", "n"}
        plain = {name: value for name, value in body.items() if name in known}
        extra = {name: value for name, value in body.items() if name not in known}
        route = client.chat.completions if step == "chat" else client.completions
        answer = route.create(**plain, extra_body=extra)
        if body.get("stream"):
            return [chunk.model_dump(exclude_unset=True) for chunk in answer]
        return answer.model_dump(exclude_unset=True)


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """`tokn up` with the pool of `pool_toml`, a model whose id is a path, and a pool of its own for each failure."""
    model = pool_toml(upstream.base_url).split("[[models]]")[1].replace('"priced"', '"org/model:free"')
    failing = [
        pool_of_one(f"{kind}-{language}-{way}", upstream.base_url)
        for kind in ("limited", "broken")
        for language in ("python", "node")
        for way in ("plain", "stream")
    ]
    legacy = model.replace('"org/model:free"', '"legacy"') + "capabilities = { completions = true }\n"
    seeing = model.replace('"org/model:free"', '"seeing"').replace("priced-upstream", "gpt-6.1-sol")
    config = "[[models]]".join([pool_toml(upstream.base_url), model, legacy, seeing]) + "".join(failing)
    with Tokn(tmp_path_factory.mktemp("sdks") / "data", config) as running:
        yield running


@pytest.fixture(scope="module", params=["python", "node"])
def sdk(request, tokn):
    """The official SDK of one language."""
    if request.param == "python":
        yield PythonSdk(tokn.url)
        return
    with NodeSdk(tokn.url) as node:
        yield node


def completion(chunks: list[dict[str, Any]]) -> str:
    """The text of a stream's chunks, chat or legacy."""
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(
        choice["text"] if "text" in choice else choice["delta"].get("content") or "" for choice in choices
    )


def test_chat(sdk, tokn):
    """A plain chat completion carries the model the caller wrote, the text and the usage."""
    answer = sdk.call("chat", {"model": "priced", "messages": SAY, "x_script": {"words": 3}}, tokn.key)["ok"]
    assert answer["model"] == "priced"
    assert answer["choices"][0]["message"]["content"] == "w0 w1 w2 "
    assert answer["usage"]["total_tokens"] == 10


def test_pictures_and_documents(sdk, tokn, upstream):
    """A picture and a PDF go up as they are, for a hold of their size and pages; an old limit goes up by its new name."""
    picture = {"type": "image_url", "image_url": {"url": data_url(png((512, 512)))}}
    data = data_url(pdf(tree(2)), "application/pdf")
    file = {"type": "file", "file": {"filename": "two.pdf", "file_data": data}}
    for part, most in ((picture, 339), (file, 2 * (39_600 + 4_000))):
        said = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}]
        script = {"words": 3, "prompt": 330, "tag": "seeing"}
        body = {"model": "seeing", "messages": said, "max_tokens": 50, "x_script": script}

        def bounded(body=body, most=most):
            """Whether a call was served for a hold of its media and its text; a first PDF may be late to be counted."""
            assert sdk.call("chat", body, tokn.key)["ok"]["usage"]["prompt_tokens"] == 330
            held = tokn.read("SELECT prompt_max FROM holds ORDER BY request_id DESC LIMIT 1")[0][0]
            return most < held < most + 1_500

        wait_for(bounded, 20, "a hold by what the media are")
        sent = json.loads(upstream.named("seeing")[-1].body)
        assert sent["messages"] == said
        assert (sent.get("max_tokens"), sent["max_completion_tokens"]) == (None, 50)


def test_chat_stream(sdk, tokn):
    """A stream carries the text, one id and no usage that was not asked for."""
    body = {"model": "priced", "messages": SAY, "stream": True, "x_script": {"words": 4}}
    chunks = sdk.call("chat", body, tokn.key)["ok"]
    assert completion(chunks) == "w0 w1 w2 w3 "
    assert {chunk["model"] for chunk in chunks} == {"priced"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks)
    assert all(chunk["choices"] for chunk in chunks)


def test_chat_stream_with_usage(sdk, tokn):
    """A stream that asked for usage has null in every chunk and the figures in the last, which has no choices."""
    body = {"model": "priced", "messages": SAY, "stream": True, "stream_options": {"include_usage": True}}
    chunks = sdk.call("chat", body, tokn.key)["ok"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 12
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


@pytest.mark.parametrize(("model", "words"), [("legacy", 2), ("priced", 5)], ids=["passed-on", "over-chat"])
def test_completions(sdk, tokn, model, words):
    """A legacy completion carries its text and usage, whether the upstream has the route or only chat."""
    body = {"model": model, "prompt": "hello", "max_tokens": 9}
    if model == "legacy":
        body["x_script"] = {"words": words}
    answer = sdk.call("completions", body, tokn.key)["ok"]
    assert answer["object"] == "text_completion"
    assert answer["model"] == model
    assert answer["choices"][0]["text"] == "".join(f"w{index} " for index in range(words))
    assert answer["usage"]["prompt_tokens"] == 7


@pytest.mark.parametrize("model", ["legacy", "priced"], ids=["passed-on", "over-chat"])
def test_completions_stream(sdk, tokn, model):
    """A legacy stream carries its text in chunks of the same shape."""
    chunks = sdk.call("completions", {"model": model, "prompt": "hello", "stream": True}, tokn.key)["ok"]
    assert completion(chunks) == "w0 w1 w2 w3 w4 "
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}


def test_models(sdk, tokn):
    """The list has the models that can be served, and each can be retrieved as the list shows it."""
    listed = {model["id"]: model for model in sdk.call("models", None, tokn.key)["ok"]}
    assert {"priced", "org/model:free"} <= listed.keys()
    for name in ("priced", "org/model:free"):
        assert sdk.call("model", {"id": name}, tokn.key)["ok"] == listed[name]
        assert listed[name]["object"] == "model"


ERRORS = {
    "400": ({"model": "priced", "messages": "nonsense"}, "", 400, "BadRequestError", "invalid_request_error"),
    "401-malformed": (
        {"model": "priced", "messages": SAY},
        MALFORMED_KEY,
        401,
        "AuthenticationError",
        "invalid_request_error",
    ),
    "401-unknown": (
        {"model": "priced", "messages": SAY},
        UNKNOWN_KEY,
        401,
        "AuthenticationError",
        "invalid_request_error",
    ),
    "402": ({"model": "priced", "messages": SAY}, "poor", 402, "own", "billing_error"),
    "404": (
        {"model": "no-such-model", "messages": SAY},
        "",
        404,
        "NotFoundError",
        "invalid_request_error",
    ),
    "413": (
        {"model": "priced", "messages": [{"role": "user", "content": "x" * (33 * 1024 * 1024)}]},
        "",
        413,
        "own",
        "invalid_request_error",
    ),
    "429": (
        {"model": "limited", "messages": SAY, "x_script": {"status": 429, "retry_after": "7"}},
        "",
        429,
        "RateLimitError",
        "rate_limit_error",
    ),
    "502": (
        {"model": "broken", "messages": SAY, "x_script": {"status": 500}},
        "",
        502,
        "InternalServerError",
        "server_error",
    ),
}
CODES = {
    "401-malformed": "invalid_api_key",
    "401-unknown": "invalid_api_key",
    "402": "insufficient_balance",
    "404": "model_not_found",
    "413": "request_too_large",
    "429": "rate_limit_exceeded",
}
PARAMS = {"400": "messages", "404": "model"}


@pytest.fixture(scope="module")
def poor_key(tokn):
    """A key with a hundredth of a cent."""
    return tokn.row("key", "create", "--name", "poor", "--balance", "0.0001")["key"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", ERRORS)
def test_errors_arrive_as_the_sdks_own_classes(sdk, tokn, poor_key, name, stream):
    """Each status is the SDK's own error class, with message, type, param, code and request id."""
    body, key, status, error_class, error_type = ERRORS[name]
    key = {"poor": poor_key, "": tokn.key}.get(key, key)
    if body["model"] in {"limited", "broken"}:
        language = "python" if isinstance(sdk, PythonSdk) else "node"
        body = {**body, "model": f"{body['model']}-{language}-{'stream' if stream else 'plain'}"}
    error = sdk.call("chat", {**body, "stream": stream}, key)["error"]
    generic = "APIStatusError" if isinstance(sdk, PythonSdk) else "APIError"
    assert error["status"] == status, error
    assert error["class"] == (generic if error_class == "own" else error_class)
    assert error["type"] == error_type
    assert error["message"]
    assert error["code"] == CODES.get(name, error["code"])
    assert error["param"] == PARAMS.get(name)
    assert error["requestID"]


def test_error_inside_a_stream_raises(sdk, tokn):
    """A stream whose upstream is cut ends as an error of the SDK, never as a clean end."""
    body = {"model": "priced", "messages": SAY, "stream": True, "x_script": {"words": 9, "cut": 4}}
    error = sdk.call("chat", body, tokn.key)["error"]
    assert error["class"] == "APIError"
    assert error["type"] == "server_error"
