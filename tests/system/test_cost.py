"""Owns what a caller is told of a call's cost over the whole path: every dialect and family, plain and streamed, to the nano."""

import itertools
import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from msgspec import Struct

from schemas.money.pricing import TokenUsage
from tests.fakes import conversation, dialects, gemini, openai
from tests.fakes.dialects import Answer, counted
from tests.fakes.families import PICTURES, PROVIDERS, TIERED, by_hand
from tests.fakes.receipts import receipt
from tests.fakes.responses import NATIVE, every_stage, every_toml
from tests.fakes.tokn import Tokn

pytestmark = pytest.mark.system

LIMIT = 77
USAGE = TokenUsage(input=501, cached=133, cache_write=7, output=41, reasoning=3)
ANSWER = Answer(("Hel", "lo"), USAGE)
BEYOND = Answer(("Hel", "lo"), TokenUsage(input=90_001, output=41))  # what no bound of these prompts covers
TEXT = "hello " * 200
SAY = [{"role": "user", "content": TEXT}]
WISH = {"usage": {"include": True}}
ROUTES = {
    "chat": ("/v1/chat/completions", {"messages": SAY, "max_tokens": LIMIT}),
    "completions": ("/v1/completions", {"prompt": TEXT, "max_tokens": LIMIT}),
    "responses": ("/v1/responses", {"input": TEXT, "max_output_tokens": LIMIT}),
    "messages": ("/v1/messages", {"messages": SAY, "max_tokens": LIMIT}),
}
PICTURE = f"data:image/png;base64,{conversation.PIXEL}"
PICTURED = {  # the same prompts and a picture
    "chat": {
        "messages": [
            *SAY,
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]},
        ]
    },
    "responses": {
        "input": [
            *SAY,
            {"role": "user", "content": [{"type": "input_image", "image_url": PICTURE, "detail": "auto"}]},
        ]
    },
    "messages": {
        "messages": [
            *SAY,
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": conversation.PIXEL},
                    }
                ],
            },
        ]
    },
}
EMBEDDERS = {"text-embedding-3-small": 3, "gemini-embedding-001": 130, "amazon.titan-embed-text-v2:0": 3}
every_dialect = pytest.mark.parametrize("dialect", ROUTES)
streamed_or_plain = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


class Told(Struct):
    """What an answer says of its cost, in nano-dollars; None where it says nothing."""

    request_id: str
    headers: dict[str, str]
    usages: list[dict[str, Any]]  # of all events that have one, or of the body

    @property
    def shown_nano(self) -> Decimal | None:
        """`usage.cost`, which only the last usage may have."""
        assert not any("cost" in usage for usage in self.usages[:-1])
        cost = self.usages[-1].get("cost") if self.usages else None
        assert cost is None or isinstance(cost, Decimal)
        return None if cost is None else cost * 1_000_000_000

    @property
    def header_nano(self) -> int | None:
        """`x-tokn-cost-nano`."""
        nano = self.headers.get("x-tokn-cost-nano")
        return None if nano is None else int(nano)


@pytest.fixture(scope="module")
def played():
    """One fake of each provider, and one that speaks Responses itself."""
    with every_stage() as made:
        yield made


@pytest.fixture(scope="module")
def settings(played):
    """A deployment of all of them, the sandbox, and models whose tier is a surprise once each."""
    surprised = "".join(TIERED.replace("tiered", f"tiered-{way}") for way in ("stream", "plain"))
    return (
        every_toml(played)
        + PICTURES  # of the last model, the native one
        + surprised
        + '[pools.sandbox]\nprovider = "sandbox"\n'
    )


@pytest.fixture(scope="module")
def tokn(settings, tmp_path_factory):
    """`tokn up` where cost is told to who asks."""
    with Tokn(tmp_path_factory.mktemp("cost") / "data", settings) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def http(tokn):
    """A client with the key and nothing else."""
    headers = {"Authorization": f"Bearer {tokn.key}"}
    with httpx.Client(base_url=tokn.url, headers=headers, timeout=20) as client:
        yield client


def usages(text: str, *, stream: bool) -> list[dict[str, Any]]:
    """The usage objects of an answer, in order: at the top of a body or an event, or in its response."""
    lines = [line[6:] for line in text.split("\n") if line.startswith("data: {")] if stream else [text]
    found = []
    for line in lines:
        said = json.loads(line, parse_float=Decimal)
        usage = said.get("usage") or (said.get("response") or {}).get("usage")
        if usage and said.get("type") != "message_start":
            found.append(usage)
    return found


def ask(http: httpx.Client, path: str, body: dict[str, Any], **more: Any) -> Told:
    """One call that goes well."""
    answer = http.post(path, json=body | more)
    assert answer.status_code == 200, answer.text
    stream = bool(more.get("stream"))
    return Told(answer.headers["x-request-id"], dict(answer.headers), usages(answer.text, stream=stream))


def check(http: httpx.Client, told: Told, *, stream: bool) -> dict[str, Any]:
    """Every figure is what the ledger has billed. The receipt."""
    paid = receipt(http, told.request_id)
    assert told.shown_nano == paid["billed_nano"]
    assert told.header_nano == (None if stream else paid["billed_nano"])
    return paid


def ways(dialect: str) -> tuple[str, ...]:
    """The models that a dialect is tried on."""
    return (*PROVIDERS, NATIVE) if dialect == "responses" else PROVIDERS


@every_dialect
@streamed_or_plain
def test_the_figure_is_the_bill(played, http, dialect, stream):
    """On every family, with cached tokens: `usage.cost` and the header are the receipt's nano, and the wish stays here."""
    path, body = ROUTES[dialect]
    for way in ways(dialect):
        stage = played[way][0]
        stage.play(ANSWER)
        told = ask(http, path, body, model=way, stream=stream, **WISH)
        paid = check(http, told, stream=stream)
        assert paid["billed_nano"] == by_hand(counted("openai" if way == NATIVE else way, USAGE)), way
        assert told.headers["x-tokn-granted-tokens"] == str(LIMIT), way
        assert "usage" not in stage.bodies[-1], way


@pytest.mark.uncollected("the upstream reports more for a picture than its formula says")
@pytest.mark.parametrize("dialect", PICTURED)
@streamed_or_plain
def test_a_call_that_its_hold_bounds_says_the_hold(played, http, dialect, stream):
    """A provider that reports more than was held for a picture: the figure is the hold, as the bill is."""
    path, body = ROUTES[dialect]
    for way in ways(dialect):
        played[way][0].play(BEYOND)
        told = ask(http, path, body | PICTURED[dialect], model=way, stream=stream, **WISH)
        paid = check(http, told, stream=stream)
        assert 0 < paid["billed_nano"] < by_hand(BEYOND.usage), way
        assert paid["uncollected_nano"] > 0, way


@pytest.mark.uncollected("the upstream serves a dearer tier than was asked for")
@streamed_or_plain
def test_a_tier_that_nobody_asked_for_costs_the_hold(played, http, stream):
    """Text alone, at a price that no hold had met yet: the figure is the hold, as the bill is."""
    (stage,) = played["gemini"]
    near = Answer(("Hel", "lo"), TokenUsage(input=1_200, output=LIMIT))
    script = gemini.Script(
        tuple(dialects.gemini_objects(near)), headers={"x-gemini-service-tier": "priority"}
    )
    stage._fake.play(script)
    path, body = ROUTES["completions"]
    model = "tiered-stream" if stream else "tiered-plain"
    told = ask(http, path, body, model=model, stream=stream, **WISH)
    paid = check(http, told, stream=stream)
    assert paid["known"] == "reported"
    assert paid["billed_nano"] > 0
    assert paid["uncollected_nano"] > 0


@streamed_or_plain
def test_a_count_that_cannot_be_has_our_estimate_told(played, http, stream):
    """A prompt of text alone reported beyond its bound, on every family: who asks is shown what is billed, an estimate."""
    path, body = ROUTES["completions"]  # twice of an account: a third time would cool it
    for way in ways("completions"):
        played[way][0].play(BEYOND)
        told = ask(http, path, body, model=way, stream=stream, **WISH)
        paid = check(http, told, stream=stream)
        assert paid["known"] == "estimated", way
        assert 0 < paid["billed_nano"] < by_hand(TokenUsage(input=len(TEXT), output=BEYOND.usage.output)), way
        assert paid["uncollected_nano"] == 0, way


@every_dialect
@streamed_or_plain
def test_who_does_not_ask_reads_nothing_of_it(played, http, dialect, stream):
    """No usage object has `cost`, a chat stream has no usage at all; the headers are there all the same."""
    path, body = ROUTES[dialect]
    wishes = itertools.cycle(({}, {"usage": None}, {"usage": {"include": False}}))
    for way, wish in zip(ways(dialect), wishes, strict=False):
        played[way][0].play(ANSWER)
        told = ask(http, path, body, model=way, stream=stream, **wish)
        assert told.shown_nano is None
        assert bool(told.usages) is not (stream and dialect in ("chat", "completions"))
        paid = receipt(http, told.request_id)["billed_nano"]
        assert told.header_nano == (None if stream else paid)
        assert told.headers["x-tokn-granted-tokens"] == str(LIMIT)


@pytest.mark.parametrize(("model", "inputs"), EMBEDDERS.items())
def test_vectors_have_a_figure_and_no_limit(http, model, inputs):
    """Embeddings of every family: one batch or many calls, the figure is that of them all."""
    told = ask(http, "/v1/embeddings", {"input": ["the sea"] * inputs}, model=model, **WISH)
    assert check(http, told, stream=False)["billed_nano"] > 0
    assert "x-tokn-granted-tokens" not in told.headers


@streamed_or_plain
def test_prompts_of_an_emulated_completion_are_one_figure(played, http, stream):
    """One call of the provider for each prompt: the figure is the sum of their bills."""
    path, body = ROUTES["completions"]
    for way in ("anthropic", "gemini", "bedrock"):
        for _ in range(3):
            played[way][0].play(ANSWER)
        told = ask(http, path, body | {"prompt": [TEXT, "b", "c"]}, model=way, stream=stream, **WISH)
        used = counted(way, USAGE)
        assert check(http, told, stream=stream)["billed_nano"] == by_hand(used + used + used), way
        assert told.headers["x-tokn-granted-tokens"] == str(LIMIT)


@every_dialect
@streamed_or_plain
def test_a_call_cut_by_its_limit(http, dialect, stream):
    """The sandbox stops at the limit: it is the one that the header says, and the figure is that of what came."""
    path, body = ROUTES[dialect]
    limits = {name: 3 for name in body if name.startswith("max_")}
    told = ask(http, path, body | limits, model="tokn-sandbox", stream=stream, **WISH)
    paid = check(http, told, stream=stream)
    assert sum(paid["tokens"][name] for name in ("output", "reasoning")) == 3
    assert told.headers["x-tokn-granted-tokens"] == "3"


@every_dialect
@streamed_or_plain
def test_the_tier_that_served_is_in_the_figure(played, http, dialect, stream):
    """Priority has prices of its own, and is said in the answer's head."""
    (stage,) = played["gemini"]
    script = gemini.Script(
        tuple(dialects.gemini_objects(ANSWER)), headers={"x-gemini-service-tier": "priority"}
    )
    stage._fake.play(script)
    path, body = ROUTES[dialect]
    told = ask(http, path, body, model="tiered", stream=stream, **WISH)
    paid = check(http, told, stream=stream)
    assert "priority" in paid["uplifts"]


@every_dialect
@streamed_or_plain
def test_a_server_that_counts_nothing_has_its_estimate_told(played, http, dialect, stream):
    """A compatible server without usage: who asks is shown what is billed, an estimate."""
    pieces = openai.stream(["Hel", "lo"], None) if stream else [openai.plain("Hello", None)]
    played["openai"][0]._queue.append(lambda _: openai.Reply(pieces=pieces, length=not stream))
    path, body = ROUTES[dialect]
    told = ask(http, path, body, model="openai", stream=stream, **WISH)
    paid = check(http, told, stream=stream)
    assert (paid["known"], paid["outcome"]) == ("estimated", "ok")
    assert paid["billed_nano"] > 0


@pytest.mark.parametrize(("dialect", "way"), [(dialect, way) for dialect in ROUTES for way in ways(dialect)])
def test_an_answer_that_ends_before_anything_was_said_is_free(played, http, dialect, way):
    """The provider opens its stream and ends it, or is reset, without a token or a reason: an error, and no bill."""
    path, body = ROUTES[dialect]
    for end in ({"end": 1}, {"cut": 1}):
        played[way][0].play(Answer(("", *ANSWER.pieces), USAGE) if way == "gemini" else ANSWER, **end)
        answer = http.post(path, json=body | {"model": way, "stream": True})
        assert answer.status_code == 502 or '"error"' in answer.text
        paid = receipt(http, answer.headers["x-request-id"])
        assert (paid["outcome"], paid["billed_nano"], paid["uncollected_nano"]) == ("failed", 0, 0)


@pytest.mark.parametrize("wish", [3, "yes", [], {"include": 1}])
def test_a_wish_that_is_none_is_refused(http, wish):
    """In the words of each dialect, before anything is held."""
    routes = ROUTES | {"embeddings": ("/v1/embeddings", {"input": "x"})}
    for dialect, (path, body) in routes.items():
        answer = http.post(path, json=body | {"model": "tokn-sandbox", "usage": wish})
        assert answer.status_code == 400
        error = answer.json()["error"]
        if dialect == "messages":
            assert error["type"] == "invalid_request_error"
            assert error["message"].startswith("usage: ")
        else:
            assert (error["param"], error["code"]) == ("usage", "invalid_type")


def test_an_operator_may_tell_it_to_all(played, settings, tmp_path):
    """`[edge] usage_cost`: every usage object has the figure, asked for or not; a chat stream gets no usage by it."""
    with Tokn(tmp_path / "data", settings + "[edge]\nusage_cost = true\n") as running:
        headers = {"Authorization": f"Bearer {running.key}"}
        with httpx.Client(base_url=running.url, headers=headers, timeout=20) as client:
            for dialect, (path, body) in ROUTES.items():
                for stream in (True, False):
                    played["anthropic"][0].play(ANSWER)
                    told = ask(client, path, body, model="anthropic", stream=stream)
                    if stream and dialect in ("chat", "completions"):
                        assert told.usages == []
                    else:
                        check(client, told, stream=stream)
            played["anthropic"][0].play(ANSWER)
            path, body = ROUTES["chat"]
            options = {"stream_options": {"include_usage": True}}
            check(client, ask(client, path, body, model="anthropic", stream=True, **options), stream=True)
        assert running.audit()["ok"] is True
