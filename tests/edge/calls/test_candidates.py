"""Calls that several models may serve: which is tried when, what the caller and the ledger are told, and the waits."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from edge.admission.pages import PageCounter
from schemas.asked import Document
from schemas.catalogue.aliases import Alias
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.forwarded import Forwarded
from schemas.catalogue.profiles import profiled
from schemas.errors import WireError, invalid, overloaded, saturated, unavailable
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.calls import AUTHORISE, ESTIMATE, REATTEMPT, RELEASE
from tests.edge.calls.test_overruns import FILE, PICTURE
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, ScriptedWorker, event, happy, until
from tests.fakes.ticks import Ticks

SANDBOX = next(model for model in BUILTIN if model.id == "tokn-sandbox")
FIRST, SECOND, THIRD = "tokn-sandbox", "two/of them", "three"
Script = Callable[[Attempt], Awaitable[None]]


class Several:
    """An edge with three models, each in a pool and with a worker of its own."""

    def __init__(self, rig: Rig, workers: list[ScriptedWorker]) -> None:
        self.rig = rig
        self.workers = workers

    def scripts(self, *scripts: Script) -> None:
        """What each worker does with its jobs."""
        for worker, script in zip(self.workers, scripts, strict=False):
            worker.script = script

    @property
    def tried(self) -> list[tuple[str, int, int, bool]]:
        """Model, attempt, place and whether it is the last, of every job that a worker got."""
        jobs = [attempt.job for worker in self.workers for attempt in worker.attempts]
        return [(job.model, job.attempt, job.candidate, job.last) for job in jobs]

    @property
    def next_ones(self) -> list[tuple[int, int]]:
        """Attempt and place of each that the ledger was asked for."""
        return [(message.attempt, message.candidate) for message in self.rig.ledger.of(REATTEMPT)]


@pytest.fixture
async def several(rig: Rig) -> Several:
    """All three are known, and served by their workers."""
    rig.ledger.models = (
        *BUILTIN,
        msgspec.structs.replace(SANDBOX, id=SECOND, pool="two", upstream="up-2", max_output=40),
        msgspec.structs.replace(SANDBOX, id=THIRD, pool="three", upstream="up-3"),
    )
    two = await rig.add_worker("two", (SECOND,))
    three = await rig.add_worker("three", (THIRD,))
    await until(lambda: rig.edge.roster.serves("two", SECOND) and rig.edge.roster.serves("three", THIRD))
    await rig.edge.catalogue.find(THIRD)
    return Several(rig, [rig.worker, two, three])


def fails(error: WireError) -> Script:
    """Accepts, then says that another candidate may do better."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.fail(error, gives_way=True)

    return script


async def bounces(attempt: Attempt) -> None:
    """Takes nothing: its accounts are spent."""
    attempt.bounce(saturated("No account."))


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("how", ["fails", "bounces"])
async def test_the_next_one_serves(several: Several, how: str, stream: bool) -> None:
    """Where the first gives way, the ledger is asked for the second, which gets its own limit, and the header names it."""
    several.scripts(fails(overloaded()) if how == "fails" else bounces, happy)
    answer = await several.rig.chat(models=[FIRST, SECOND, FIRST], stream=stream, max_tokens=50)
    assert answer.status_code == 200
    assert answer.headers["x-tokn-model"] == SECOND
    assert answer.headers["x-tokn-granted-tokens"] == "200"
    assert "Hello" in answer.text
    assert "error" not in answer.text
    assert several.tried == [(FIRST, 1, 1, False), (SECOND, 2, 2, True)]
    assert several.next_ones == [(2, 2)]
    job = several.workers[1].attempts[0].job
    assert (job.upstream, job.limit, job.hold_list_nano) == ("up-2", 200, 2)
    assert b"models" not in job.body
    (asked,) = several.rig.ledger.of(AUTHORISE)
    assert (asked.model, asked.limit, asked.asked) == (FIRST, 50, (FIRST, SECOND))
    assert [(one.model, one.limit) for one in asked.others] == [(SECOND, 40)]
    assert not several.rig.ledger.of(RELEASE)
    assert not several.rig.ledger.of(ESTIMATE)


async def test_the_last_ones_error_is_told(several: Several) -> None:
    """When all fail, the caller gets the error of the last; what it has used is the ledger's to know."""

    async def refuses(attempt: Attempt) -> None:
        attempt.accept()
        attempt.fail(unavailable("The last one.", code="last"))

    several.scripts(fails(overloaded()), fails(saturated("Busy.")), refuses)
    answer = await several.rig.chat(models=[FIRST, SECOND, THIRD])
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "last")
    assert "x-tokn-model" not in answer.headers
    assert [place for _, _, place, _ in several.tried] == [1, 2, 3]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_failure_for_good_is_told_at_once(several: Several, stream: bool) -> None:
    """What the worker does not let pass, such as a refused body, ends the call: nobody else is asked."""

    async def refuses(attempt: Attempt) -> None:
        attempt.accept()
        attempt.fail(invalid("No such thing.", param="messages"))

    several.scripts(refuses)
    answer = await several.rig.chat(models=[FIRST, SECOND], stream=stream)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")
    assert several.next_ones == []


async def test_nobody_is_asked_after_the_first_byte(several: Several) -> None:
    """A stream that fails once its caller has had something ends with the error, whoever else could serve."""

    async def breaks(attempt: Attempt) -> None:
        attempt.accept()
        attempt.data(event("Hello"))
        attempt.fail(overloaded())

    several.scripts(breaks)
    answer = await several.rig.chat(models=[FIRST, SECOND], stream=True)
    assert answer.headers["x-tokn-model"] == FIRST
    assert "server_is_overloaded" in answer.text
    assert (several.next_ones, len(several.tried)) == ([], 1)


async def test_a_model_that_nobody_serves_is_skipped(several: Several) -> None:
    """Of those that can take the body, the ones that no worker serves now are not waited for."""
    several.workers[0].models = ()
    several.workers[0].beat()
    await until(lambda: not several.rig.edge.roster.serves("sandbox", FIRST))
    waited = Ticks()
    answer = await several.rig.chat(model=FIRST, models=["nowhere", SECOND, THIRD])
    assert waited.s < FAST.full_wait_s
    assert answer.headers["x-tokn-model"] == SECOND
    (asked,) = several.rig.ledger.of(AUTHORISE)
    assert (asked.model, [one.model for one in asked.others]) == (SECOND, [THIRD])
    assert asked.asked == (FIRST, "nowhere", SECOND, THIRD)


async def test_what_cannot_take_the_body_is_skipped(several: Several) -> None:
    """A model that refuses the body is left out; if none is left, the first one's error is told, before any hold."""
    able = msgspec.structs.replace(SANDBOX.capabilities, n_max=4)
    few = msgspec.structs.replace(SANDBOX.capabilities, n_max=1)
    models = [model for model in several.rig.ledger.models if model.id not in {FIRST, SECOND}]
    several.rig.ledger.models = (
        *models,
        msgspec.structs.replace(SANDBOX, family="anthropic", capabilities=few),
        msgspec.structs.replace(SANDBOX, id=SECOND, pool="two", family="anthropic", capabilities=able),
    )
    await several.rig.edge.catalogue._load()
    answer = await several.rig.chat(models=[FIRST, SECOND], n=3)
    assert (answer.status_code, answer.headers["x-tokn-model"]) == (200, SECOND)
    refused = await several.rig.chat(models=[FIRST, "nowhere"], n=3)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")
    missing = await several.rig.chat(model="nowhere", models=[FIRST], n=3)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
    assert "nowhere" in missing.json()["error"]["message"]
    assert len(several.rig.ledger.of(AUTHORISE)) == 1


async def test_what_is_not_sent_a_field_is_skipped(several: Several) -> None:
    """A model whose row does not list a field of the body is left out; if all are, it is the 400, before any hold."""
    takes = Forwarded(more=("x_new",), tools=("function", "own"))
    models = [model for model in several.rig.ledger.models if model.id != SECOND]
    second = msgspec.structs.replace(SANDBOX, id=SECOND, pool="two", forwards=takes)
    several.rig.ledger.models = (*models, second)
    await several.rig.edge.catalogue._load()
    for more in ({"x_new": 1}, {"tools": [{"type": "own"}]}):
        answer = await several.rig.chat(models=[FIRST, SECOND], **more)
        assert (answer.status_code, answer.headers["x-tokn-model"]) == (200, SECOND)
    for more, code in (
        ({"x_new": 1}, "unknown_parameter"),
        ({"tools": [{"type": "own"}]}, "unsupported_value"),
    ):
        refused = await several.rig.chat(models=[FIRST, THIRD], **more)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert len(several.rig.ledger.of(AUTHORISE)) == 2


async def test_all_of_them_wait_no_longer_than_one(several: Several) -> None:
    """Full pools are waited for by turns, in the time that a call with one model waits; then it is the 429 of the last."""

    async def full(attempt: Attempt) -> None:
        attempt.bounce()

    several.scripts(full, full, full)
    for worker in several.workers:
        worker.accepting = False
    started, waited = time.monotonic(), Ticks()
    answer = await several.rig.chat(models=[FIRST, SECOND, THIRD])
    waited_s = time.monotonic() - started
    assert answer.status_code == 429
    assert THIRD in answer.json()["error"]["message"]
    assert waited_s >= FAST.full_wait_s
    assert waited.s < FAST.full_wait_s + 1.5
    assert several.next_ones == [(2, 2), (3, 3)]
    await until(lambda: several.rig.ledger.of(RELEASE))


async def test_a_dead_workers_attempts_are_the_candidates_own(several: Several) -> None:
    """Each candidate has as many attempts as a call with one model; after them it gives way, its last one our cost."""

    async def silent(attempt: Attempt) -> None:
        del attempt

    several.scripts(silent, happy)
    answer = await several.rig.chat(models=[FIRST, SECOND])
    assert (answer.status_code, answer.headers["x-tokn-model"]) == (200, SECOND)
    assert several.next_ones == [(2, 1), (3, 1), (4, 2)]
    assert {message.replaced for message in several.rig.ledger.of(REATTEMPT)} == {NO_USAGE}


async def test_an_alias_is_its_models_in_order(several: Several) -> None:
    """Names in `models` may be aliases; what they stand for is tried in order, none twice, and the header tells."""
    several.rig.ledger.aliases = (Alias("quick", (FIRST, THIRD)),)
    await several.rig.edge.catalogue._load()
    several.scripts(fails(overloaded()), happy, happy)
    answer = await several.rig.chat(model="quick", models=[SECOND, FIRST])
    assert answer.headers["x-tokn-model"] == THIRD
    (asked,) = several.rig.ledger.of(AUTHORISE)
    assert (asked.model, [one.model for one in asked.others]) == (FIRST, [THIRD, SECOND])
    assert asked.asked == ("quick", SECOND, FIRST)


async def test_more_than_eight_are_refused(several: Several) -> None:
    """The bound is on the models that the names stand for, whatever the names are."""
    several.rig.ledger.models += tuple(
        msgspec.structs.replace(SANDBOX, id=f"m{number}") for number in range(8)
    )
    several.rig.ledger.aliases = (Alias("eight", tuple(f"m{number}" for number in range(8))),)
    await several.rig.edge.catalogue._load()
    answer = await several.rig.chat(models=["eight", FIRST])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "models")
    assert "9 models" in answer.json()["error"]["message"]


async def test_each_candidate_is_held_by_its_own_bounds(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the formula of its own model for pictures, and its own service tier; a document is counted once for all."""
    counted: list[str] = []
    count = PageCounter.count

    async def seen(self: PageCounter, documents: tuple[Document, ...]) -> dict[str, int]:
        counted.extend(document.param for document in documents)
        return await count(self, documents)

    monkeypatch.setattr("edge.admission.pages.PageCounter.count", seen)
    able = {name: profiled(*name.split("/")) for name in ("openai/gpt-4o", "anthropic/claude-opus-5")}
    several.rig.ledger.models = (
        *BUILTIN,
        *(
            msgspec.structs.replace(
                SANDBOX,
                id=name,
                upstream=name,
                context=1_000_000,
                capabilities=msgspec.structs.replace(one, service_tiers=("flex",)),
            )
            for name, one in able.items()
        ),
    )
    first, second = able
    await several.rig.edge.catalogue._load()
    several.rig.worker.models = (first, second)
    several.rig.worker.beat()
    await until(lambda: several.rig.edge.roster.serves("sandbox", second))
    several.scripts(fails(overloaded()))
    parts = [PICTURE, FILE]
    await several.rig.chat(
        models=[first, second], service_tier="flex", messages=[{"role": "user", "content": parts}]
    )
    (asked,) = several.rig.ledger.of(AUTHORISE)
    (other,) = asked.others
    jobs = [attempt.job for attempt in several.rig.worker.attempts]
    assert [job.model for job in jobs] == [first, second]
    assert [job.prompt_max for job in jobs] == [asked.prompt_max, other.prompt_max]
    assert 0 < other.prompt_max < 1_000_000
    assert jobs[0].media_tokens != jobs[1].media_tokens > 0
    assert (asked.uplifts, other.uplifts) == (("flex",), ("flex",))
    assert len(counted) == len(set(counted)) == 1


async def test_the_last_one_without_a_worker_ends_the_call_at_once(several: Several) -> None:
    """A candidate whose pool is deserted when its turn comes is not waited for: nobody is starting its worker again."""

    async def outlives(attempt: Attempt) -> None:
        attempt.accept()
        await several.workers[1].die()
        await until(lambda: several.rig.edge.roster.silent("two"))
        attempt.fail(overloaded(), gives_way=True)

    several.scripts(outlives)
    call = asyncio.create_task(several.rig.chat(models=[FIRST, SECOND]))
    await until(lambda: several.next_ones)
    waited = Ticks()
    assert (await call).status_code == 429
    assert waited.s < FAST.full_wait_s / 2


async def test_a_ledger_that_refuses_the_next_ends_the_call(several: Several) -> None:
    """Without the ledger's word nobody else is asked: the call fails, and is ours to pay."""
    several.rig.ledger.reattempt_ok = False
    several.scripts(fails(overloaded()), happy)
    answer = await several.rig.chat(models=[FIRST, SECOND])
    assert answer.status_code == 502
    (told,) = await until(lambda: several.rig.ledger.of(ESTIMATE))
    assert (told.failed, told.candidate, told.attempt) == (True, 1, 1)
    assert len(several.tried) == 1


async def test_a_caller_who_left_asks_nobody_else(several: Several) -> None:
    """The hold that a candidate leaves open is released when its caller has gone."""
    rig = several.rig

    async def slow(attempt: Attempt) -> None:
        attempt.accept()
        await attempt.cancelled.wait()
        attempt.fail(overloaded(), gives_way=True)

    several.scripts(slow, happy)
    async with rig.http.stream(
        "POST",
        "/v1/chat/completions",
        json={"models": [FIRST, SECOND], "stream": True, "messages": [{"role": "user", "content": "hi"}]},
        timeout=FAST.first_event_s * 4,
    ) as answer:
        assert answer.status_code == 200  # a ping has opened it
        assert not {"x-tokn-model", "x-tokn-granted-tokens"} & answer.headers.keys()
    await until(lambda: rig.ledger.of(RELEASE))
    assert several.next_ones == []


async def test_what_a_candidate_has_used_is_told(several: Several) -> None:
    """The estimate of the one that gave way goes with the question for the next."""

    async def reads(attempt: Attempt) -> None:
        attempt.accept()
        attempt.usage(TokenUsage(input=7))
        attempt.fail(overloaded(), gives_way=True)

    several.scripts(reads, happy)
    assert (await several.rig.chat(models=[FIRST, SECOND])).status_code == 200
    (message,) = several.rig.ledger.of(REATTEMPT)
    assert message.replaced.input == 7
