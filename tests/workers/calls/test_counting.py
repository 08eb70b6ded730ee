"""A long prompt whose caller has left before its provider said a word of it: the provider's own count, where that is free."""

import asyncio
import json
import typing
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from schemas.bus.frames import Job
from schemas.bus.usage import Known, Outcome
from schemas.catalogue.model import CLOSE
from tests.fakes import gemini_rules
from tests.fakes.simulated import Produced, Run, Worker
from tests.fakes.spoken import CHAT, question
from tests.workers.calls.test_leaving import REASONING, due, leave
from tests.workers.providers.anthropic.cases import job
from workers.calls import counting
from workers.calls.counting import COUNTS_MAX, KEY_COUNTS_MAX, Counting
from workers.calls.stops import Stop
from workers.providers import family
from workers.upstream.http import UpstreamError
from workers.upstream.request import UpstreamRequest

COUNT = 71_234
PROMPT_MAX = 300_000
WORDS = "word " * 60_000
MESSAGES = "messages"
ANSWERS = {"anthropic": b'{"input_tokens":%d}', "gemini": b'{"totalTokens":%d,"cachedContentTokenCount":0}'}


class Counted:
    """The answer to a question."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers: dict[str, str] = {}
        self.closed = False
        self._pieces = [body, b""]

    async def read(self) -> bytes:
        """The body, then its end."""
        return self._pieces.pop(0)

    def close(self) -> None:
        """Let go of."""
        self.closed = True


class Asked:
    """The provider of one worker: calls go to its script, questions to `answer`."""

    def __init__(self, worker: Worker, answer: Callable[[], Counted]) -> None:
        self._calls = worker.serving.upstream
        self._answer = answer
        self.questions: list[UpstreamRequest] = []
        self.closed_at: list[float | None] = []  # of the call, when it was asked
        self.run: Run | None = None
        worker.serving.upstream = self  # type: ignore[assignment]  it stands in for one

    async def open(self, request: UpstreamRequest) -> Any:
        """One call, or one question."""
        if "count" not in request.url:
            return await self._calls.open(request)
        self.questions.append(request)
        self.closed_at.append(None if self.run is None else self.run.upstream.closed_at)
        return self._answer()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(way: str, answer: Callable[[], Counted] | None = None) -> tuple[Worker, Asked]:
        worker = Worker(monkeypatch, REASONING[way], on_hangup=CLOSE)
        return worker, Asked(worker, answer or (lambda: Counted(200, ANSWERS[way] % COUNT)))

    return make


def call(worker: Worker, dialect: str = CHAT, text: str = WORDS, *, stream: bool = True, **more: Any) -> Job:
    """A call with a long prompt."""
    known: dict[str, Any] = {"limit": 512, "prompt_max": PROMPT_MAX, "text_bytes": len(text)}
    body = question(dialect, worker.model.id, text, stream=stream, limit=512)
    return job(
        {},
        dialect=dialect,
        stream=stream,
        body=json.dumps(body).encode(),
        upstream=worker.model.upstream,
        **(known | more),
    )


async def left(
    worker: Worker, asked: Asked, of: Job, way: str, *, after_s: float = 0.1, why: Stop = Stop.CANCELLED
) -> Run:
    """A call whose caller leaves, to its end."""
    run = asked.run = await worker.start(of, due(way, of.dialect, Produced(), stream=of.stream))
    await run.until(after_s)
    run.call.stop(why)
    assert run.call.task is not None
    await asyncio.wait_for(run.call.task, 10)
    return run


WAYS = [("anthropic", CHAT), ("anthropic", MESSAGES), ("gemini", CHAT), ("gemini", MESSAGES)]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize(("way", "dialect"), WAYS)
async def test_the_providers_count_is_billed(made, way, dialect, stream):
    """It is asked for once the call is hung up on, by the same account, and stands in place of the estimate."""
    worker, asked = made(way)
    run = await left(worker, asked, call(worker, dialect, stream=stream), way)
    assert (run.event.outcome, run.event.known) == (Outcome.CANCELLED, Known.ESTIMATED)
    assert run.event.usage.prompt == run.event.tries[-1].usage.prompt == COUNT
    assert worker.serving.counting.count == 0
    (sent,) = asked.questions
    assert asked.closed_at == [worker.clock.now]
    assert "k" in sent.headers.values()
    body = json.loads(sent.body)
    if way == "anthropic":
        assert sent.url == "https://api.anthropic.com/v1/messages/count_tokens"
        from anthropic.types import message_count_tokens_params as params  # noqa: PLC0415  three seconds for each process that collects the tests, used or not

        assert body.keys() <= typing.get_type_hints(params.MessageCountTokensParams).keys()
        assert body["model"] == worker.model.upstream
    else:
        name = worker.model.upstream
        assert urlsplit(sent.url).path == f"/v1beta/models/{name}:countTokens"
        (inner,) = body.values()
        assert inner.pop("model") == f"models/{name}"
        gemini_rules.check(json.dumps(inner).encode(), worker.model.capabilities)


async def test_no_more_than_the_bound_is_billed(made):
    """A count beyond what the call is held for is billed as the bound."""
    worker, asked = made("anthropic", lambda: Counted(200, ANSWERS["anthropic"] % (2 * PROMPT_MAX)))
    run = await left(worker, asked, call(worker), "anthropic")
    assert run.event.usage.prompt == PROMPT_MAX


@pytest.mark.parametrize("way", ["openai", "bedrock"])
async def test_other_families_are_asked_nothing(made, way):
    """Where no count is free, the estimate stands."""
    worker, asked = made(way, lambda: Counted(200, b"{}"))
    run = await left(worker, asked, call(worker), way)
    assert not asked.questions
    assert run.event.usage.prompt > 50_000


async def test_a_short_prompt_is_estimated(made):
    """Below 50,000 tokens nobody is asked."""
    worker, asked = made("anthropic")
    run = await left(worker, asked, call(worker, text="word " * 20_000), "anthropic")
    assert not asked.questions
    assert 15_000 < run.event.usage.prompt < 50_000


async def test_what_was_told_is_not_asked_for(made):
    """Once the opening has said what the prompt counts, that is billed."""
    worker, asked = made("anthropic")
    run = await left(worker, asked, call(worker), "anthropic", after_s=1.0)
    assert not asked.questions
    assert run.event.usage.prompt == Produced().usage.prompt


@pytest.mark.parametrize("why", [Stop.REPLACED, Stop.EDGE_GONE, Stop.SHUTDOWN])
async def test_only_who_left_is_counted(made, why):
    """Where the caller has not left, nothing is asked."""
    worker, asked = made("anthropic")
    await left(worker, asked, call(worker), "anthropic", why=why)
    assert not asked.questions


def _fails() -> Counted:
    raise UpstreamError("refused", sent=False)


@pytest.mark.parametrize(
    "answer",
    [
        _fails,
        lambda: Counted(429, b'{"input_tokens":7}'),
        lambda: Counted(404, b""),
        lambda: Counted(200, b'{"input_tokens":0}'),
        lambda: Counted(200, b'{"input_tokens":-5}'),
        lambda: Counted(200, b'{"input_tokens":"9"}'),
        lambda: Counted(200, b'{"input_tokens":%d}' % 10**30),
        lambda: Counted(200, b"[" * 65_000),
        lambda: Counted(200, b" " * 70_000),
    ],
    ids=["no connection", "limit", "no such route", "none", "negative", "text", "odd", "nonsense", "large"],
)
async def test_the_estimate_stands_where_there_is_no_count(made, answer):
    """Whatever else an upstream answers, the call ends with our estimate, and its account is not blamed."""
    worker, asked = made("anthropic", answer)
    run = await left(worker, asked, call(worker), "anthropic")
    assert len(asked.questions) == 1
    assert 50_000 < run.event.usage.prompt < PROMPT_MAX
    assert [one.status for one in run.event.tries] == [0]
    assert worker.serving.counting.count == 0


async def test_a_silent_provider_is_not_waited_for(made, monkeypatch):
    """After its deadline a question is given up, and its place is free."""
    monkeypatch.setattr(counting, "COUNT_S", 0.05)
    worker, asked = made("gemini")

    class Silent(Counted):
        async def read(self) -> bytes:
            await asyncio.Event().wait()
            return b""

    answer = Silent(200, b"")
    asked._answer = lambda: answer
    run = await left(worker, asked, call(worker), "gemini")
    assert answer.closed
    assert 50_000 < run.event.usage.prompt < PROMPT_MAX
    assert worker.serving.counting.count == 0


async def test_few_are_asked_at_once():
    """Two of a key and eight of a worker are under way; one more is estimated, and a place that is free is taken again."""
    counts, silent = Counting(), asyncio.Event()

    class Upstream:
        async def open(self, request: UpstreamRequest) -> Counted:
            await silent.wait()
            return Counted(200, ANSWERS["anthropic"] % COUNT)

        async def aclose(self) -> None:
            """Nothing to close."""

    claude = family("anthropic")
    asks = UpstreamRequest("POST", "https://h.test/v1/messages", {}, b'{"model":"m","max_tokens":1}')

    def ask(scope: str) -> asyncio.Task[int | None]:
        return asyncio.create_task(counts.ask(claude, Upstream(), scope, asks))

    waiting = [ask("loud") for _ in range(KEY_COUNTS_MAX)]
    await asyncio.sleep(0)
    assert await ask("loud") is None
    waiting += [ask(f"k{number}") for number in range(COUNTS_MAX - KEY_COUNTS_MAX)]
    await asyncio.sleep(0)
    assert counts.count == COUNTS_MAX
    assert await ask("late") is None
    silent.set()
    assert await asyncio.gather(*waiting) == [COUNT] * COUNTS_MAX
    assert (counts.count, await ask("loud")) == (0, COUNT)


def test_embeddings_have_no_count():
    """Only a call that generates has a prompt that Gemini counts in this way."""
    url = "https://h.test/v1beta/models/m:batchEmbedContents"
    assert family("gemini").prompt_count(UpstreamRequest("POST", url, {}, b"{}")) is None


async def test_a_caller_who_stays_is_asked_nothing(made):
    """A call that goes well asks nothing beside."""
    worker, asked = made("anthropic")
    run = asked.run = await worker.start(call(worker), due("anthropic", CHAT, Produced(), stream=True))
    await run.until(Produced().lasts_s + 1)
    assert run.event.outcome is Outcome.OK
    assert not asked.questions
    await leave(run, Produced().lasts_s + 2)
    assert not asked.questions
