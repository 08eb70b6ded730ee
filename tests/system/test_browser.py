"""Owns what pages of other origins get in a real browser: every route, the official SDK, refusals, and nothing more."""

import json

import pytest

from tests.fakes.browser import Page
from tests.fakes.tokn import Tokn, wait_for
from tests.fakes.upstream import pool_of_one, pool_toml

pytestmark = [pytest.mark.system, pytest.mark.browser]

MODEL = "tokn-sandbox"
SANDBOX = '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\nwords_per_s = 0\n'
SAY = [{"role": "user", "content": "hello"}]
CHAT = "/v1/chat/completions"
UNKNOWN = "tokn_" + "0" * 38
SLOW = {"words": 4, "pace_s": 0.2}  # so that a page gets a stream in pieces, as it is written
LIMITED = {"model": "limited", "messages": SAY, "x_script": {"status": 429, "retry_after": "7"}}


def fetched(name: str, url: str, key: str, body: object = None, **headers: str) -> dict[str, object]:
    """A step: one fetch with a key, of a list without a body."""
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"} if key else {}
    method = "GET" if body is None else "POST"
    return {
        "name": name,
        "by": "fetched",
        "url": url,
        "method": method,
        "headers": sent | headers,
        "body": body,
    }


def asked(name: str, tokn: Tokn, key: str, body: object = None) -> dict[str, object]:
    """A step: one call of the SDK."""
    return {
        "name": name,
        "by": "asked",
        "options": {"apiKey": key, "baseURL": f"{tokn.url}/v1"},
        "body": body,
    }


def steps(tokn: Tokn, poor: str) -> list[dict[str, object]]:
    """All that the page does."""
    chat = {"model": MODEL, "messages": SAY}
    streamed = {"model": "priced", "messages": SAY, "stream": True, "x_script": SLOW}
    messages = {"model": MODEL, "max_tokens": 100, "messages": SAY, "metadata": {"user_id": "u"}}
    typed = {"Content-Type": "application/json"}
    return [
        fetched("models", f"{tokn.url}/v1/models", tokn.key),
        fetched("chat", tokn.url + CHAT, tokn.key, {"models": [MODEL, "priced"], "messages": SAY}),
        fetched("stream", tokn.url + CHAT, tokn.key, streamed),
        fetched("responses", f"{tokn.url}/v1/responses", tokn.key, {"model": MODEL, "input": "hi"}),
        fetched("messages", f"{tokn.url}/v1/messages", "", messages, **typed | {"x-api-key": tokn.key}),
        fetched("embeddings", f"{tokn.url}/v1/embeddings", tokn.key, {"model": MODEL, "input": "hi"}),
        fetched("400", tokn.url + CHAT, tokn.key, {"model": MODEL}),
        fetched("401", tokn.url + CHAT, UNKNOWN, chat),
        fetched("402", tokn.url + CHAT, poor, chat),
        fetched("404", f"{tokn.url}/v1/nowhere", tokn.key, chat),
        fetched("429", tokn.url + CHAT, tokn.key, LIMITED),
        fetched("metrics", f"{tokn.url}/metrics", ""),
        fetched("readyz", f"{tokn.url}/readyz", ""),
        asked("sdk-models", tokn, tokn.key),
        asked("sdk-chat", tokn, tokn.key, chat),
        asked("sdk-stream", tokn, tokn.key, chat | {"stream": True}),
        asked("sdk-401", tokn, UNKNOWN, chat),
        asked("sdk-402", tokn, poor, chat | {"stream": True}),
    ]


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """A gateway that lets every origin read, as it is unless it is told otherwise."""
    config = pool_toml(upstream.base_url) + pool_of_one("limited", upstream.base_url) + SANDBOX
    with Tokn(tmp_path_factory.mktemp("browser") / "data", config) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def visit(tokn, tmp_path_factory):
    """What the page read, by step, and what Chromium sent for it."""
    poor = tokn.row("key", "create", "--name", "poor", "--balance", "0.000001")["key"]
    with Page(steps(tokn, poor)) as page:
        return page.visit(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def said(visit):
    """What the page read."""
    return visit[0]


def body(read):
    return json.loads("".join(read["pieces"]))


def test_it_reads_the_models(said):
    """The list, by fetch and by the SDK."""
    ids = [model["id"] for model in body(said["models"])["data"]]
    assert {MODEL, "priced"} <= set(ids)
    assert said["sdk-models"] == {"models": ids}


def test_it_reads_an_answer_with_its_headers(said):
    """Which model served and the call's id are for pages, too."""
    read = said["chat"]
    assert (read["status"], read["headers"]["x-tokn-model"]) == (200, MODEL)
    assert body(read)["choices"][0]["message"]["content"]
    assert read["headers"]["x-request-id"].startswith("req_")


def test_it_reads_a_stream_while_it_is_written(said):
    """In several pieces, to the last event."""
    read = said["stream"]
    assert read["status"] == 200
    assert len(read["pieces"]) > 2
    text = "".join(read["pieces"])
    assert [f"w{word} " in text for word in range(SLOW["words"])] == [True] * SLOW["words"]
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("route", "field"), [("responses", "output"), ("messages", "content"), ("embeddings", "data")]
)
def test_it_reads_every_dialect(said, route, field):
    """Each with the headers that its SDK sends the key in."""
    assert said[route]["status"] == 200
    assert body(said[route])[field]
    assert said[route]["headers"]["x-request-id"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("400", None),
        ("401", "invalid_api_key"),
        ("402", "insufficient_balance"),
        ("404", "unknown_url"),
        ("429", "rate_limit_exceeded"),
    ],
)
def test_it_reads_why_a_call_was_refused(said, name, code):
    """Status, body and the call's id: never the browser's own error without a reason."""
    read = said[name]
    assert read["status"] == int(name)
    error = body(read)["error"]
    assert error["message"]
    assert code in {None, error["code"]}
    assert read["headers"]["x-request-id"]


def test_it_reads_how_long_to_wait(said):
    """`retry-after` is not among the headers that browsers show by themselves."""
    assert int(said["429"]["headers"]["retry-after"]) > 0


def test_the_official_sdk_works_in_a_page(said):
    """Plain and streamed, with the SDK's own retries off."""
    assert said["sdk-chat"]["text"]
    assert said["sdk-chat"]["id"].startswith("req_")
    assert said["sdk-stream"] == {"text": said["sdk-chat"]["text"]}


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [("sdk-401", "AuthenticationError", "invalid_api_key"), ("sdk-402", "APIError", "insufficient_balance")],
)
def test_the_official_sdk_raises_its_own_errors(said, name, kind, code):
    """With status, code and request id, where a page without CORS gets a connection error."""
    read = said[name]
    assert (read["thrown"], read["status"], read["code"]) == (kind, int(name[-3:]), code)
    assert read["requestID"].startswith("req_")


def test_the_browser_asks_before_it_sends_a_key(visit, tokn):
    """A preflight, which names the headers, goes ahead of each route's first call; later ones are remembered."""
    sent = [(method, headers) for method, path, headers in visit[1] if path == CHAT]
    methods = [method for method, _ in sent]
    assert methods[0] == "OPTIONS"
    named = "\n".join(sent[0][1]).lower()
    assert "access-control-request-headers: authorization,content-type" in named
    assert methods.count("OPTIONS") < methods.count("POST")


@pytest.mark.parametrize("name", ["metrics", "readyz"])
def test_nothing_of_an_operator_is_read(said, name):
    """The browser keeps the answer from the page."""
    assert said[name]["thrown"] == "TypeError"


def test_only_the_origins_of_the_configuration_read(tmp_path):
    """A page of a listed origin calls; one of another neither reads nor gets a call through its preflight."""
    good, bad = Page([]), Page([], host="localhost")
    with good, bad:
        listed = f'[edge]\ncors_origins = ["{good.origin}"]\n{SANDBOX}'
        with Tokn(tmp_path / "data", listed) as tokn:
            for page, folder in ((good, "good"), (bad, "bad")):
                page.steps = [
                    fetched("models", f"{tokn.url}/v1/models", ""),
                    fetched("chat", tokn.url + CHAT, tokn.key, {"model": MODEL, "messages": SAY}),
                    asked("sdk", tokn, tokn.key, {"model": MODEL, "messages": SAY}),
                ]
                (tmp_path / folder).mkdir()
            read, _ = good.visit(tmp_path / "good")
            assert (read["models"]["status"], read["chat"]["status"]) == (401, 200)
            assert read["sdk"]["text"]
            wait_for(lambda: len(tokn.rows("usage")) == 2, 10, "both calls are in the books")
            unread, sent = bad.visit(tmp_path / "bad")
            assert [unread[name]["thrown"] for name in ("models", "chat")] == ["TypeError"] * 2
            assert unread["sdk"]["thrown"] == "APIConnectionError"
            assert {method for method, path, _ in sent if path == CHAT} == {"OPTIONS"}
            assert len(tokn.rows("usage")) == 2
