"""A batch of embeddings that its provider takes in parts: several calls at a time, one answer in order, and one bill."""

import asyncio
import itertools
import json
from typing import Any

import pytest
from msgspec import structs

from runtime.settings.settings import PoolSettings
from schemas.bus.frames import End
from schemas.bus.usage import Known, Outcome
from schemas.money.pricing import NO_USAGE, TokenUsage
from tests.fakes import embeddings as fakes
from tests.fakes.openai import FakeOpenAI, Received, Reply, answer, error
from tests.fakes.worker import Rig, account, model, rig, until
from tests.workers.calls.test_embeddings import ABLE, bill, job, serving
from workers.answers.vectors import VectorsAnswer, packed
from workers.providers.embedding import TOGETHER_MAX, EmbeddingExchange, wanted

TEXTS = tuple(f"text {'x' * index}" for index in range(20))  # ten calls of two
PARTS = [TEXTS[at : at + 2] for at in range(0, len(TEXTS), 2)]


class Gated:
    """A handler whose calls wait, each for a gate of its own; the first of a batch does not."""

    def __init__(self, decide: Any = answer) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self._decide = decide

    def __call__(self, received: Received) -> Reply:
        """As a handler."""
        first = received.json["input"][0]
        made: Reply = self._decide(received)
        if first != TEXTS[0]:
            made.before = [self.gates.setdefault(first, asyncio.Event())]
        return made

    def waiting(self) -> list[str]:
        """The first texts of the calls that wait."""
        return [name for name, gate in self.gates.items() if not gate.is_set()]


def inflight(made: Rig) -> int:
    """Calls of the worker's one account, as its last beat has them."""
    beat = made.beat()
    assert beat is not None
    return beat.accounts[0].inflight


async def test_parts_run_together_and_come_in_order() -> None:
    """The first call goes alone, then four at a time and never more; whichever ends first, vectors come in order."""
    gated = Gated()
    async with FakeOpenAI(gated) as fake, serving(fake) as made:
        call = job(*TEXTS)
        offered = made.edge.offer(call)
        for left in range(len(PARTS) - 1, 0, -1):
            full = min(TOGETHER_MAX, left)
            await until(lambda full=full: len(gated.waiting()) >= full, "all lanes")
            assert len(gated.waiting()) == full
            gated.gates[gated.waiting()[-1]].set()  # the newest first
        answered = await offered.end()
        assert isinstance(answered.last, End)
        body = json.loads(answered.data)
        assert [entry["embedding"] for entry in body["data"]] == [fakes.vector(text, 4) for text in TEXTS]
        assert [entry["index"] for entry in body["data"]] == list(range(len(TEXTS)))
        usage = TokenUsage(input=sum(map(fakes.tokens, TEXTS)))
        assert body["usage"]["prompt_tokens"] == usage.prompt
        assert await bill(made, call) == (Outcome.OK, Known.REPORTED, usage)
        assert len((await made.ledger.event(call)).tries) == len(fake.received) == len(PARTS)
        await until(lambda: inflight(made) == 0, "every place given back")


async def test_nothing_goes_before_the_first_has_come() -> None:
    """What is wrong with every part costs one call of the provider."""
    async with FakeOpenAI(lambda _: error(400, "no such size")) as fake, serving(fake) as made:
        call = job(*TEXTS)
        assert (await made.edge.call(call)).failed.error.status == 400
        assert len(fake.received) == 1
        assert await bill(made, call) == (Outcome.FAILED, Known.ESTIMATED, NO_USAGE)


async def test_a_full_account_takes_them_one_by_one() -> None:
    """An account that has room for one call serves a batch all the same, never with two calls at once."""
    gated = Gated()
    async with FakeOpenAI(gated) as fake:
        accounts = (account(fake.base_url, max_inflight=1),)
        pool = PoolSettings(name="openai", provider="openai", accounts=accounts)
        async with rig((pool,), (model(capabilities=ABLE),)) as made:
            offered = made.edge.offer(job(*TEXTS))
            for _ in PARTS[1:]:
                await until(gated.waiting, "the next call")
                (only,) = gated.waiting()
                gated.gates[only].set()
            answered = await offered.end()
            assert isinstance(answered.last, End)
            assert len(json.loads(answered.data)["data"]) == len(TEXTS)
            assert len(fake.received) == len(PARTS)


@pytest.mark.parametrize("fault", ["caller", "provider"])
async def test_the_first_failure_is_the_answer_and_those_under_way_are_known(fault: str) -> None:
    """No call begins after it; the others' ends are waited for, and billed if it is the caller's own fault."""

    def decide(received: Received) -> Reply:
        if TEXTS[4] in received.json["input"]:
            return error(400, "refused") if fault == "caller" else error(500, "busy")
        return answer(received)

    gated = Gated(decide)
    async with FakeOpenAI(gated) as fake, serving(fake) as made:
        call = job(*TEXTS)
        offered = made.edge.offer(call)
        await until(lambda: len(gated.waiting()) == TOGETHER_MAX, "all lanes")
        gated.gates[TEXTS[4]].set()
        await until(lambda: inflight(made) == TOGETHER_MAX - 1, "its end")
        for gate in gated.gates.values():
            gate.set()
        answered = await offered.end()
        assert answered.failed.error.status == (400 if fault == "caller" else 502)
        assert len(fake.received) == 1 + TOGETHER_MAX
        served = [part for part in PARTS[: 1 + TOGETHER_MAX] if TEXTS[4] not in part]
        usage = TokenUsage(input=sum(fakes.tokens(text) for part in served for text in part))
        outcome, known, billed = await bill(made, call)
        assert outcome is Outcome.FAILED
        if fault == "caller":
            assert (known, billed) == (Known.REPORTED, usage)
        else:
            assert billed == NO_USAGE
        tries = (await made.ledger.event(call)).tries
        assert sum(one.usage.input for one in tries) == usage.input
        assert [one.outcome for one in tries].count(Outcome.FAILED) == 1


async def test_a_caller_who_leaves_pays_for_all_that_run() -> None:
    """Each call under way is hung up on and stands in the event; together they cost at most the bound."""
    gated = Gated()
    async with FakeOpenAI(gated) as fake, serving(fake) as made:
        call = job(*TEXTS)
        offered = made.edge.offer(call)
        await until(lambda: len(gated.waiting()) == TOGETHER_MAX, "all lanes")
        offered.cancel()
        outcome, known, usage = await bill(made, call)
        assert (outcome, known) == (Outcome.CANCELLED, Known.ESTIMATED)
        tries = (await made.ledger.event(call)).tries
        assert [one.outcome for one in tries] == [Outcome.OK, *[Outcome.CANCELLED] * TOGETHER_MAX]
        assert sum(map(fakes.tokens, PARTS[0])) < usage.input <= call.prompt_max
        await until(lambda: sum(one.closed_at > 0 for one in fake.received) >= TOGETHER_MAX, "hang-ups")
        for gate in gated.gates.values():
            gate.set()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_an_answer_is_the_same_whichever_part_ends_last(order: tuple[int, ...]) -> None:
    """Parts told in any order make the same bytes, all of them from the one that ends last."""
    call = job("a", "b", "c")
    made = VectorsAnswer(call, 3, wanted=4, most=4, encoding="float")
    out = []
    for place in order:
        made.tell(place, range(place, place + 1), [packed(fakes.vector("abc"[place], 4))])
        out.append(made.end(place, TokenUsage(input=1)))
    assert out[:2] == [b"", b""]
    assert [entry["embedding"] for entry in json.loads(out[2])["data"]] == [
        fakes.vector(text, 4) for text in "abc"
    ]


def test_large_parts_run_one_by_one() -> None:
    """As many run at a time as have answers that fit the memory of one: never fewer than one, never more than four."""
    for count, at_once in ((1, TOGETHER_MAX), (100, TOGETHER_MAX), (300, 2), (800, 1), (2_048, 1)):
        of = wanted(job("a", dimensions=3_072), model(capabilities=ABLE))
        (part,) = of.batches
        of = structs.replace(of, batches=(structs.replace(part, count=count),))
        assert EmbeddingExchange(of, part).at_once == at_once
