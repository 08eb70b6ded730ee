"""What a caller pays who leaves: what the upstream bills at that moment, or all of it where the answer is read on."""

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from schemas.bus.frames import Job
from schemas.bus.usage import Known, Outcome
from schemas.catalogue.anthropic import anthropic_capabilities
from schemas.catalogue.bedrock import bedrock_capabilities
from schemas.catalogue.model import Model
from schemas.estimates.speeds import OTHER_PER_S, START_SHARE, start_per_s
from schemas.money.pricing import Price, PriceTier, TokenUsage, charge
from tests.fakes import anthropic, gemini, openai, responses
from tests.fakes.dialects import bedrock_events
from tests.fakes.simulated import PER_S, PROMPT, Produced, Run, Worker, running_totals, served
from tests.fakes.spoken import CHAT, RESPONSES, STREAMED, question
from tests.workers.calls.test_same_bill import NATIVE, ROWS, objects, spoken, whole
from tests.workers.providers.anthropic.cases import job
from workers.calls.speeds import Pace, Speeds
from workers.calls.stops import Stop

PRICE = Price(id="p", tiers=(PriceTier(input=Decimal(1), output=Decimal(4)),))
COMPATIBLE = "compatible"
POINTS = 21
LIMIT = 4_096
START = START_SHARE * OTHER_PER_S  # of an id that says nothing
_CLAUDE = "claude-opus-5-5"
_BEDROCK = "global.anthropic.claude-opus-5-5-v1"
_EFFORTS: dict[str, Any] = {"efforts": ("low", "medium", "high"), "effort_default": "medium"}
REASONING: dict[str, Model] = {
    "openai": served(ROWS["openai"], **_EFFORTS),
    NATIVE: served(ROWS[NATIVE], **_EFFORTS),
    COMPATIBLE: served(ROWS["openai"], reasons=True),
    "anthropic": structs.replace(
        ROWS["anthropic"], upstream=_CLAUDE, capabilities=anthropic_capabilities(_CLAUDE)
    ),
    "gemini": ROWS["gemini"],
    "bedrock": structs.replace(
        ROWS["bedrock"],
        upstream=_BEDROCK,
        capabilities=structs.replace(bedrock_capabilities(_BEDROCK), messages=False),
    ),
}
every_way = pytest.mark.parametrize("way", REASONING)
both_forms = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a worker of one model; its account is elsewhere where the way says so."""

    def make(way: str, model: Model | None = None, **more: Any) -> Worker:
        if way == COMPATIBLE:
            more["account"] = {"base_url": "http://elsewhere.test/v1"}
        return Worker(monkeypatch, model or REASONING[way], **more)

    return make


def call(model: Model, dialect: str, *, stream: bool, number: int = 0, **more: Any) -> Job:
    """A call whose prompt is estimated as its upstream counts it: of more text than that, up to the bound."""
    known = {
        "limit": LIMIT,
        "prompt_max": PROMPT,
        "text_bytes": 4 * PROMPT,
        "price": PRICE,
        "deadline_s": 7_200.0,
    }
    body = question(dialect, model.id, "word " * 2 * PROMPT, stream=stream, limit=LIMIT) | more.pop(
        "said", {}
    )
    return job(
        {},
        request_id=f"r{number}",
        dialect=dialect,
        stream=stream,
        body=json.dumps(body).encode(),
        upstream=model.upstream,
        **(known | more),
    )  # fmt: skip


def due(way: str, dialect: str, produced: Produced, *, stream: bool) -> list[tuple[float, bytes]]:
    """When which bytes of an answer come."""
    way = spoken("openai" if way == COMPATIBLE else way, dialect)
    answer = produced.answer
    if not stream:
        return [(produced.lasts_s, json.dumps(whole(way, answer)).encode())]
    match way:
        case "bedrock":
            events = bedrock_events(answer)
        case "anthropic":
            events = [anthropic.framed(one) for one in objects(way, answer)]
        case "gemini":
            events = [gemini.framed(one) for one in running_totals(objects(way, answer), produced)]
        case "openai":
            events = [openai.event(one) for one in [*objects(way, answer), "[DONE]"]]
        case _:
            events = responses.events(answer)
    return produced.due(events)


def nano(usage: TokenUsage) -> int:
    """What it costs."""
    return charge(usage, PRICE, Decimal(1), ())


def points(produced: Produced, count: int = POINTS) -> Iterator[float]:
    """Seconds after the request: from the request itself to just before the end."""
    last = produced.lasts_s - 1e-3
    yield from (last * step / (count - 1) for step in range(count))


async def leave(run: Run, seconds: float) -> None:
    """The caller leaves so long after the request."""
    await run.until(seconds)
    run.call.stop(Stop.CANCELLED)
    await run.until(seconds)


@both_forms
@pytest.mark.parametrize("dialect", STREAMED)
@pytest.mark.parametrize("few", [4, pytest.param(10 * POINTS, marks=pytest.mark.long)])
@every_way
async def test_reasoning_in_secret_is_read_to_its_usage(made, way, dialect, stream, few):
    """Whenever the caller leaves, what is reported at the end is billed, nothing is sent, and no place is kept.

    Of Gemini's streams that holds until the first chunk: then each says what was produced so far.
    """
    worker, produced = made(way), Produced()
    count = max(few, POINTS if dialect == CHAT or (way, dialect) == (NATIVE, RESPONSES) else 0)
    for number, seconds in enumerate(points(produced, count)):
        run = await worker.start(
            call(worker.model, dialect, stream=stream, number=number),
            due(way, dialect, produced, stream=stream),
        )
        await leave(run, seconds)
        if way == "gemini" and stream and produced.by(seconds) > produced.hidden:
            assert run.event.known is Known.ESTIMATED
            assert nano(run.event.usage) >= 0.95 * nano(TokenUsage(input=PROMPT, output=produced.by(seconds)))
            continue
        assert not run.over, seconds
        assert worker.serving.drains.count == 1
        sent = len(worker.bus.sent)
        await run.until(produced.lasts_s + 1)
        assert (run.event.outcome, run.event.known) == (Outcome.CANCELLED, Known.REPORTED)
        assert nano(run.event.usage) == nano(produced.usage)
        assert len(worker.bus.sent) == sent + 1  # that it is recorded
        assert worker.serving.drains.count == 0


@both_forms
@pytest.mark.parametrize("trained", [True, False], ids=["with-history", "without"])
@every_way
async def test_reasoning_that_is_hung_up_on_is_billed_by_its_time(made, way, stream, trained):
    """With 20 calls of history nobody gains 5 % by leaving, whenever; without, a quarter of the quickest; and nobody loses a tenth."""
    worker = made(way, on_hangup="close")
    dialect = RESPONSES if way == NATIVE else CHAT
    quickest = start_per_s("", worker.model.upstream) / START_SHARE
    produced = Produced(per_s=PER_S if trained else quickest)
    if trained:
        for number in range(20):
            run = await worker.start(
                call(worker.model, dialect, stream=True, number=1_000 + number),
                due(way, dialect, produced, stream=True),
            )
            await run.until(produced.lasts_s + 1)
            assert run.event.outcome is Outcome.OK
    for number, seconds in enumerate(points(produced)):
        of = call(worker.model, dialect, stream=stream, number=number)
        run = await worker.start(of, due(way, dialect, produced, stream=stream))
        await leave(run, seconds)
        assert run.over
        assert run.upstream.closed_at == worker.clock.now
        truth = nano(TokenUsage(input=PROMPT, output=produced.by(seconds)))
        paid = nano(run.event.usage)
        assert (0.95 if trained else 0.75) * truth <= paid <= 1.10 * truth + nano(TokenUsage(output=8)), (
            seconds
        )
        assert run.event.usage.completion <= LIMIT


async def test_a_slow_model_without_history_costs_its_hold_at_most(made):
    """What is as slow as none of its kind costs what its kind makes in that time, until that is what the call was granted."""
    worker, produced = made("openai", on_hangup="close"), Produced(per_s=10.0)
    start = start_per_s("", worker.model.upstream)
    for number, seconds in enumerate((10.0, 30.0, 50.0)):
        of = call(worker.model, CHAT, stream=True, number=number)
        run = await worker.start(of, due("openai", CHAT, produced, stream=True))
        await leave(run, seconds)
        paid = run.event.usage.completion
        assert produced.by(seconds) < paid == min(LIMIT, math.ceil((seconds - produced.head_s) * start))


@pytest.mark.parametrize("dialect", STREAMED)
async def test_a_plain_answer_that_is_hung_up_on_is_billed_by_its_time(made, dialect):
    """Of a model that does not reason nothing is read on, but what was produced is not free because nobody saw it."""
    worker, produced = made("openai", ROWS["openai"]), Produced()
    for number in range(20):
        run = await worker.start(
            call(worker.model, dialect, stream=True, number=1_000 + number),
            due("openai", dialect, produced, stream=True),
        )
        await run.until(produced.lasts_s + 1)
    for number, seconds in enumerate(points(produced)):
        of = call(worker.model, dialect, stream=False, number=number)
        run = await worker.start(of, due("openai", dialect, produced, stream=False))
        await leave(run, seconds)
        assert run.upstream.closed_at == worker.clock.now
        truth = nano(TokenUsage(input=PROMPT, output=produced.by(seconds)))
        assert 0.95 * truth <= nano(run.event.usage) <= 1.10 * truth + nano(TokenUsage(output=8)), seconds


async def test_a_stream_without_reasoning_is_hung_up_on_at_once(made):
    """What was said is what is billed: no time counts where everything is seen."""
    worker, produced = made("openai", ROWS["openai"]), Produced(hidden=0, words=100)
    run = await worker.start(
        call(worker.model, CHAT, stream=True), due("openai", CHAT, produced, stream=True)
    )
    await leave(run, produced.head_s + 0.5005)
    assert run.upstream.closed_at == worker.clock.now
    assert 50 <= run.event.usage.completion <= 60


@pytest.mark.parametrize(
    ("said", "drains"),
    [({}, True), ({"reasoning_effort": "low"}, True), ({"reasoning_effort": "none"}, False)],
)
async def test_the_effort_decides(made, said, drains):
    """A model that can go without reasoning is read on only for a call that has it."""
    able = {"efforts": ("none", "low", "medium"), "effort_default": "medium"}
    worker, produced = made("openai", served(ROWS["openai"], **able)), Produced()
    run = await worker.start(
        call(worker.model, CHAT, stream=True, said=said), due("openai", CHAT, produced, stream=True)
    )
    await leave(run, 1.0)
    assert run.over is not drains


@pytest.mark.parametrize(
    ("pool", "row", "drains"),
    [("", "", True), ("close", "", False), ("close", "drain", True), ("drain", "close", False)],
)
async def test_a_row_goes_before_its_pool(made, pool, row, drains):
    """What becomes of an answer is the row's word, else the pool's, else its model's."""
    model = structs.replace(REASONING["openai"], on_hangup=row)
    worker, produced = made("openai", model, on_hangup=pool), Produced()
    run = await worker.start(
        call(worker.model, CHAT, stream=True), due("openai", CHAT, produced, stream=True)
    )
    await leave(run, 1.0)
    assert run.over is not drains


async def test_an_operator_may_have_everything_read_on(made):
    """`drain` holds for a model that does not reason, too: then what was reported is billed."""
    worker, produced = made("openai", ROWS["openai"], on_hangup="drain"), Produced(hidden=0, words=100)
    run = await worker.start(
        call(worker.model, CHAT, stream=False), due("openai", CHAT, produced, stream=False)
    )
    await leave(run, 0.1)
    await run.until(produced.lasts_s + 1)
    assert run.event.usage == produced.usage


async def started(worker: Worker, number: int, scope: str = "k", **more: Any) -> Run:
    """A stream that reasons in secret for 5 s; its caller leaves after one."""
    of = call(worker.model, CHAT, stream=True, number=number, scope=scope, **more)
    run = await worker.start(of, due("openai", CHAT, Produced(), stream=True))
    await leave(run, 1.0)
    return run


async def test_a_fifth_answer_of_a_key_is_not_read_on(made):
    """Four of a key are; more are hung up on and cost their granted limit, as another key's do not; then there is room again."""
    worker = made("openai", capacity=1_024)
    first = [await started(worker, number) for number in range(4)]
    assert not any(run.over for run in first)
    fifth = await started(worker, 4)
    assert fifth.upstream.closed_at is not None
    assert (fifth.event.known, fifth.event.usage.completion) == (Known.ESTIMATED, LIMIT)
    assert not (await started(worker, 5, scope="other")).over
    for run in first:
        await run.until(6.0)
        assert run.event.usage == Produced().usage
    assert not (await started(worker, 6)).over


@pytest.mark.parametrize(("capacity", "most"), [(1, 1), (20, 1), (59, 2), (256, 12)])
async def test_a_twentieth_of_a_worker_reads_on(made, capacity, most):
    """Whoever the callers are, 5 % of a pool's room is the most, and one answer at least."""
    worker = made("openai", capacity=capacity)
    runs = [await started(worker, number, scope=f"k{number}") for number in range(most + 1)]
    assert [run.over for run in runs] == [False] * most + [True]
    assert runs[-1].event.usage.completion == LIMIT


async def test_an_edge_that_is_gone_is_nobodys_fault(made):
    """Without room for its answers they cost what their time says, and not the limit: their callers have not left."""
    worker = made("openai", capacity=1)
    held = await started(worker, 0)
    of = call(worker.model, CHAT, stream=True, number=1, scope="other")
    run = await worker.start(of, due("openai", CHAT, Produced(), stream=True))
    await run.until(2.0)
    run.call.stop(Stop.EDGE_GONE)
    await run.until(2.0)
    assert run.over
    assert 0 < run.event.usage.completion < LIMIT
    assert not held.over


@pytest.mark.parametrize("way", ["openai", "bedrock"])
async def test_an_attempt_that_failed_at_its_edge_is_not_the_callers_fault(made, way):
    """Nobody waits for it, and nobody has left: it is read on only where its provider bills it anyway, and costs no limit."""
    worker = made(way, capacity=1)
    runs = []
    for number in range(2):
        of = call(worker.model, CHAT, stream=True, number=number)
        run = await worker.start(of, due(way, CHAT, Produced(), stream=True))
        await run.until(3.0)
        run.call.stop(Stop.REPLACED)
        await run.until(3.0)
        runs.append(run)
    assert [run.over for run in runs] == [way == "openai", True]
    assert runs[1].event.outcome is Outcome.CANCELLED
    assert runs[1].event.usage.completion == 1
    await runs[0].until(6.0)


async def test_leaving_again_changes_nothing(made):
    """A second word that the caller has left, or that the edge is gone, ends no answer that is read on."""
    worker = made("openai")
    run = await started(worker, 0)
    for why in (Stop.CANCELLED, Stop.EDGE_GONE):
        run.call.stop(why)
        await run.tick()
        assert not run.over
    assert worker.serving.drains.count == 1
    await run.until(6.0)
    assert run.event.usage == Produced().usage


async def test_a_worker_that_must_end_bills_what_was_produced(made):
    """A stop amid an answer that is read on: hung up on, billed by its time as the caller's, and its place is free."""
    worker = made("openai")
    run = await started(worker, 0)
    await run.until(3.0)
    run.call.stop(Stop.SHUTDOWN)
    await run.until(3.0)
    assert run.upstream.closed_at == worker.clock.now
    assert run.event.outcome is Outcome.CANCELLED
    assert run.event.tries[0].outcome is Outcome.CANCELLED
    start = start_per_s("", worker.model.upstream)
    assert 2.0 * start <= run.event.usage.completion <= 3.0 * start
    assert worker.serving.drains.count == 0


@pytest.mark.parametrize("limit", ["drain_s", "deadline_s", "idle_s"])
async def test_reading_on_has_an_end(made, limit):
    """After `drain_s`, when the call's own time is over, and when its upstream is silent for long: billed by its time."""
    more: dict[str, Any] = {"drain_s": 300.0} | ({limit: 50.0} if limit == "drain_s" else {})
    worker = made("openai", **more)
    if limit == "idle_s":
        worker.serving.idle_s = 50.0
    of = call(worker.model, CHAT, stream=True, **({limit: 51.0} if limit == "deadline_s" else {}))
    run = await worker.start(of, due("openai", CHAT, Produced(hidden=100_000), stream=True))
    await leave(run, 1.0)
    await run.until(49.0)
    await run.tick()
    assert not run.over
    await run.until(52.0)
    await run.tick()
    assert run.upstream.closed_at == worker.clock.now
    assert run.event.outcome is Outcome.CANCELLED
    assert run.event.usage.completion == pytest.approx(
        min(51.5 * start_per_s("", worker.model.upstream), LIMIT), rel=0.05
    )


async def test_no_more_is_read_on_than_a_hold_can_pay(made):
    """An upstream that goes on far beyond the granted limit is hung up on: all that the hold has is owed already."""
    worker, produced = made("openai"), Produced(hidden=100, words=2_000)
    of = call(worker.model, CHAT, stream=True, limit=128)
    run = await worker.start(of, due("openai", CHAT, produced, stream=True))
    await leave(run, 1.0)
    await run.until(produced.head_s + 7.0)
    await run.tick()
    assert run.upstream.closed_at == worker.clock.now
    assert run.event.usage.completion == 128


async def test_a_slow_reader_gains_nothing(made, monkeypatch):
    """Who lets the window fill before he leaves is read on as any other; waiting for him is no time of the model's."""
    monkeypatch.setattr("workers.calls.frames.WINDOW_BYTES_MAX", 512)
    worker, produced = made("openai"), Produced(hidden=100, words=400)
    run = await worker.start(
        call(worker.model, CHAT, stream=True), due("openai", CHAT, produced, stream=True)
    )
    await run.until(produced.lasts_s + 100)
    assert run.call.frames.full
    run.call.stop(Stop.CANCELLED)
    await run.until(produced.lasts_s + 100)
    assert run.event.usage == produced.usage
    upstream = worker.model.upstream
    assert worker.serving.speeds.per_s(upstream) == start_per_s("", upstream)  # that answer taught nothing


@pytest.mark.parametrize(("way", "counted"), [("openai", True), ("gemini", True), ("plain", False)])
async def test_an_edge_knows_of_secret_reasoning_while_it_lasts(made, way, counted):
    """What an edge would bill if the worker died has the reasoning that nobody saw; of a model without any, nothing."""
    able = ROWS["openai"] if way == "plain" else REASONING[way]
    way = "openai" if way == "plain" else way
    worker = made(way, able)
    run = await worker.start(
        call(worker.model, CHAT, stream=True), due(way, CHAT, Produced(head_s=0.5), stream=True)
    )
    await run.until(4.5)
    await run.tick()
    assert run.call.frames.output_tokens == counted * 4 * math.ceil(start_per_s("", able.upstream))
    run.call.stop(Stop.SHUTDOWN)
    await run.until(4.6)


def test_speeds_are_learnt_within_bounds():
    """Short answers say nothing, no answer moves a speed beyond its bounds, and only the newest models are remembered."""
    speeds = Speeds()
    for number in range(50):
        speeds.learn("short", Pace(0.0, 0.1), 100.0 + number, 255)
        speeds.learn("slow", Pace(0.0, 0.1), 100_000.0, 1_000)
        speeds.learn("quick", Pace(0.0, 0.1), 0.7, 1_000_000)
        speeds.learn("at once", Pace(0.0, 0.1), 0.5, 1_000)
    assert speeds.per_s("short") == START
    assert speeds.per_s("slow") == pytest.approx(10.0, rel=0.01)
    assert speeds.per_s("quick") == pytest.approx(4_000.0, rel=0.01)
    assert speeds.per_s("at once") == START
    for number in range(512):
        speeds.learn(f"m{number}", Pace(0.0, 0.1), 1.0, 1_000)
    assert speeds.per_s("quick") == START


def test_a_late_start_is_believed_only_so_far():
    """A head that took long may have come after all of the reasoning: it makes none of that free."""
    speeds = Speeds()
    assert speeds.produced("m", Pace(0.0, 30.0), 30.5) == START * 30
    assert speeds.produced("m", Pace(0.0), 0.4) == 0
