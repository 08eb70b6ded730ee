"""A worker's calls of embeddings: what a part costs when another is refused, and whose thread makes long answers."""

import asyncio
import json
import threading
from typing import Any

import pytest

from runtime.settings.settings import PoolSettings
from schemas.bus.frames import End, Job
from schemas.bus.usage import Known, Outcome
from schemas.catalogue.model import Capabilities
from schemas.catalogue.vectors import Vectors
from schemas.money.pricing import NO_USAGE, TokenUsage
from tests.fakes import embeddings as fakes
from tests.fakes.estimated import prompt_tokens
from tests.fakes.openai import FakeOpenAI, Received, Reply, answer, error
from tests.fakes.worker import Rig, account, model, rig, until
from tests.fakes.worker import job as any_job
from workers.providers.openai.embeddings import OpenAIEmbeddings

ABLE = Capabilities(chat=False, embeddings=Vectors(dimensions=3_072, least=1, batch=2, tokens=True))


def job(*texts: str, **more: Any) -> Job:
    """The job of some texts."""
    fields = {"dialect": "embeddings", "limit": 0, "text_bytes": sum(map(len, texts))} | more
    return any_job({"model": "m", "input": texts, "dimensions": fields.pop("dimensions", 4)}, **fields)


def serving(*fakes_of: FakeOpenAI) -> Any:
    """A worker with an account at each of these upstreams, and a model that takes two inputs a call."""
    accounts = tuple(account(fake.base_url, f"a{index}") for index, fake in enumerate(fakes_of))
    pool = PoolSettings(name="openai", provider="openai", accounts=accounts)
    return rig((pool,), (model(capabilities=ABLE),))


async def bill(made: Rig, call: Job) -> tuple[Outcome, Known, TokenUsage]:
    """What an attempt's event says."""
    event = await made.ledger.event(call)
    return event.outcome, event.known, event.usage


async def test_batches_make_one_answer_and_one_bill() -> None:
    """Three calls of the upstream are one body, in order, and one event with their sum, each call a try."""
    async with FakeOpenAI() as fake, serving(fake) as made:
        texts = ("one", "two", "three", "four", "five")
        call = job(*texts)
        answered = await made.edge.call(call)
        assert isinstance(answered.last, End)
        body = json.loads(answered.data)
        assert [entry["embedding"] for entry in body["data"]] == [fakes.vector(text, 4) for text in texts]
        usage = TokenUsage(input=sum(map(fakes.tokens, texts)))
        assert await bill(made, call) == (Outcome.OK, Known.REPORTED, usage)
        assert len((await made.ledger.event(call)).tries) == len(fake.received) == 3
        uncounted = job("a" * 40, fakes.UNCOUNTED + "b" * 29)
        assert isinstance((await made.edge.call(uncounted)).last, End)
        estimate = TokenUsage(input=prompt_tokens(uncounted))
        assert await bill(made, uncounted) == (Outcome.OK, Known.ESTIMATED, estimate)


async def test_a_part_that_was_served_is_billed_if_another_is_the_callers_fault() -> None:
    """A refused input after served ones costs those; refused at once it costs nothing; nor does a provider's failure."""
    async with FakeOpenAI() as fake, serving(fake) as made:
        late = job("one", "two", fakes.REFUSED, "four")
        assert (await made.edge.call(late)).failed.error.status == 400
        assert await bill(made, late) == (Outcome.FAILED, Known.REPORTED, TokenUsage(input=2))
        early = job(fakes.REFUSED, "two", "three", "four")
        assert (await made.edge.call(early)).failed.error.status == 400
        assert await bill(made, early) == (Outcome.FAILED, Known.ESTIMATED, NO_USAGE)

        def failing(received: Received) -> Reply:
            return answer(received) if "one" in received.json["input"] else error(500, "busy")

        fake.handler = failing
        failed = job("one", "two", "three", "four")
        assert (await made.edge.call(failed)).failed.error.status == 502
        assert await bill(made, failed) == (Outcome.FAILED, Known.ESTIMATED, NO_USAGE)


async def test_a_caller_who_leaves_pays_for_what_was_served_and_asked() -> None:
    """A hang-up while the second of three calls is held costs the first by its report and the second by the rule."""
    gate = asyncio.Event()

    def held(received: Received) -> Reply:
        made = answer(received)
        if "three" in received.json["input"]:
            made.before = [gate]
        return made

    async with FakeOpenAI(held) as fake, serving(fake) as made:
        call = job("one", "two", "three", "four", "five", "six")
        offered = made.edge.offer(call)
        await until(lambda: len(fake.received) == 3, "the second call, and the third beside it")
        offered.cancel()
        outcome, known, usage = await bill(made, call)
        assert (outcome, known) == (Outcome.CANCELLED, Known.ESTIMATED)
        assert 2 < usage.input <= call.prompt_max
        assert usage.completion == 0
        gate.set()


async def test_another_account_serves_what_one_failed_to() -> None:
    """A try that fails is repeated elsewhere, for its own batch alone."""
    async with (
        FakeOpenAI(lambda _: error(500, "busy")) as broken,
        FakeOpenAI() as good,
        serving(broken, good) as made,
    ):
        answered = await made.edge.call(job("one", "two", "three"))
        assert isinstance(answered.last, End)
        assert len(json.loads(answered.data)["data"]) == 3
        assert len(good.received) == 2


async def test_long_answers_are_made_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of a worker translates short answers itself, and no long one; each reaches the caller whole."""
    threads: list[int] = []
    translate = OpenAIEmbeddings.answer

    def noted(self: OpenAIEmbeddings, body: bytes) -> bytes:
        threads.append(threading.get_ident())
        return translate(self, body)

    monkeypatch.setattr(OpenAIEmbeddings, "answer", noted)
    monkeypatch.setattr("workers.calls.delivery.LOOP_BYTES_MAX", 16 * 1024)
    async with FakeOpenAI() as fake, serving(fake) as made:
        for dimensions in (4, 3_072):
            answered = await made.edge.call(job("one", "two", dimensions=dimensions))
            sizes = [len(entry["embedding"]) for entry in json.loads(answered.data)["data"]]
            assert sizes == [dimensions, dimensions]
    assert [thread == threading.get_ident() for thread in threads] == [True, False]
