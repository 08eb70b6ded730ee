"""What a worker does when upstreams, callers and accounts fail: who sees what, and who pays."""

import asyncio
import json
import time
from typing import Any

import pytest

from runtime.settings.settings import PoolSettings
from schemas.bus.frames import WINDOW_BYTES_MAX, Accept, AccountState, Bounce, Data, End, Failed
from schemas.bus.usage import Known, Outcome
from schemas.money.pricing import NO_USAGE, TokenUsage
from tests.fakes.estimated import output_tokens, prompt_tokens
from tests.fakes.openai import (
    FakeOpenAI,
    Received,
    Reply,
    answer,
    chunk,
    error,
    event,
    plain,
    stream,
    usage,
)
from tests.fakes.ports import free_port
from tests.fakes.ticks import Ticks
from tests.fakes.worker import account, job, model, rig, until
from workers import pools
from workers.upstream.http import ANSWER_BYTES_MAX

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
STREAM = BODY | {"stream": True}


def pool(*accounts: Any) -> tuple[PoolSettings, ...]:
    return (PoolSettings(name="openai", provider="openai", accounts=accounts),)


IDLE_S = 0.6  # the silence that streams are allowed here; a tick is 0.2 s
DRIPS = 6
EVENTS = stream(["one ", "two ", "three "], usage(7, 5))


FINISHED = len(EVENTS) - 2  # so many events have the finish reason; the usage chunk and `[DONE]` follow


@pytest.mark.parametrize("count", [FINISHED, FINISHED + 1])
async def test_every_choice_finished_is_an_end(count: int) -> None:
    """A compatible server that closes in order after the finish reason has answered whole, `[DONE]` or not."""
    async with (
        FakeOpenAI(lambda _: Reply(pieces=EVENTS[:count])) as fake,
        rig(pool(account(fake.base_url))) as made,
    ):
        call = job(STREAM, text_bytes=40)
        answered = await made.edge.call(call)
        assert isinstance(answered.last, End)
        bill = await made.ledger.event(call)
        assert bill.outcome is Outcome.OK
        assert bill.known is (Known.ESTIMATED if count == FINISHED else Known.REPORTED)
        assert bill.usage == TokenUsage(
            input=prompt_tokens(call) if count == FINISHED else 7,
            output=output_tokens("one two three ", call.upstream) if count == FINISHED else 5,
        )


@pytest.mark.parametrize(
    ("count", "reset"),
    [(count, True) for count in range(len(EVENTS))] + [(count, False) for count in range(FINISHED)],
)
async def test_cut_after_each_event(count: int, reset: bool) -> None:
    """A stream that is reset, or ends in order, before its end fails; what was sent is billed by the rule."""
    async with (
        FakeOpenAI(lambda _: Reply(pieces=EVENTS[:count], cut=reset)) as fake,
        rig(pool(account(fake.base_url))) as made,
    ):
        call = job(STREAM, text_bytes=40)
        answered = await made.edge.call(call)
        assert answered.failed.error.status == 502
        bill = await made.ledger.event(call)
        assert (bill.outcome, bill.known) == (Outcome.FAILED, Known.ESTIMATED)
        said = "".join(f"{word} " for word in ("one", "two", "three")[: max(0, count - 1)])
        output = max(1, output_tokens(said, call.upstream))
        if count <= 1:  # no event, or one without output
            assert bill.usage == NO_USAGE
        elif count == len(EVENTS) - 1:
            assert bill.usage == TokenUsage(input=7, output=5)
        else:
            assert bill.usage == TokenUsage(input=prompt_tokens(call), output=output)
        assert len(fake.received) == 1


async def test_an_estimate_is_never_beyond_the_grant() -> None:
    """A token may be a long word: a cut stream of two is billed as two, whatever they are estimated at."""
    words = [event(chunk({"content": "internationalization " * 3})) for _ in range(2)]
    async with (
        FakeOpenAI(lambda _: Reply(pieces=words, cut=True)) as fake,
        rig(pool(account(fake.base_url))) as made,
    ):
        call = job(STREAM | {"max_tokens": 2}, text_bytes=40, limit=2)
        await made.edge.call(call)
        assert (await made.ledger.event(call)).usage == TokenUsage(input=prompt_tokens(call), output=2)


@pytest.mark.parametrize("count", [0, 2])
async def test_a_silent_upstream_is_given_up(count: int) -> None:
    """A stream that says nothing for too long, before its first byte or between two, is a 504 and closed; billed by the rule."""
    never = asyncio.Event()
    pieces = [event(chunk({"content": "four"})) for _ in range(count)]
    async with (
        FakeOpenAI(lambda _: Reply(pieces=[*pieces, never], before=[] if count else [never])) as fake,
        rig(pool(account(fake.base_url)), idle_s=IDLE_S) as made,
    ):
        call, began = job(STREAM), time.monotonic()
        answered = await made.edge.call(call)
        assert time.monotonic() - began >= IDLE_S
        assert answered.failed.error.status == 504
        await asyncio.wait_for(fake.received[0].closed.wait(), 10)
        bill = await made.ledger.event(call)
        assert (bill.outcome, bill.known) == (Outcome.FAILED, Known.ESTIMATED)
        assert bill.usage == (
            TokenUsage(input=prompt_tokens(call), output=output_tokens("fourfour", call.upstream))
            if count
            else NO_USAGE
        )
        assert bill.tries[0].usage.input == prompt_tokens(call)


KEEP_ALIVE = b": keep-alive\n\n"


@pytest.mark.parametrize(
    "drip", [KEEP_ALIVE, b":", event(chunk({"content": "a "}))], ids=["comments", "single bytes", "chunks"]
)
@pytest.mark.parametrize("late", [False, True], ids=["first", "between"])
async def test_a_stream_that_makes_progress_is_not_cut(drip: bytes, late: bool) -> None:
    """Whatever bytes come within the silence that is allowed keep a stream alive, however long that takes."""
    begun = [event(chunk({"content": "one "}))] if late else []
    drips = [piece for _ in range(DRIPS) for piece in (drip, IDLE_S / 2)]
    end = [b"\n\n", event(chunk({}, finish="stop", usage=usage(7, 9))), event("[DONE]")]
    async with (
        FakeOpenAI(lambda _: Reply(pieces=[*begun, *drips, *end])) as fake,
        rig(pool(account(fake.base_url)), idle_s=IDLE_S) as made,
    ):
        call, began = job(STREAM), time.monotonic()
        answered = await made.edge.call(call)
        assert isinstance(answered.last, End)
        assert time.monotonic() - began > 2 * IDLE_S
        bill = await made.ledger.event(call)
        assert (bill.outcome, bill.known, bill.usage) == (
            Outcome.OK,
            Known.REPORTED,
            TokenUsage(input=7, output=9),
        )


@pytest.mark.parametrize("begun", [False, True], ids=["no head", "half a body"])
async def test_a_plain_answer_has_the_whole_time(begun: bool) -> None:
    """A plain answer may be silent for longer than a stream: before its head, and in the middle."""
    body, wait_s = plain("four", usage(7, 4)), 3 * IDLE_S
    pieces = [body[:20], wait_s, body[20:]] if begun else [body]
    async with (
        FakeOpenAI(lambda _: Reply(pieces=pieces, before=[] if begun else [wait_s], length=True)) as fake,
        rig(pool(account(fake.base_url)), idle_s=IDLE_S) as made,
    ):
        call = job(BODY)
        assert isinstance((await made.edge.call(call)).last, End)
        assert (await made.ledger.event(call)).usage == TokenUsage(input=7, output=4)


@pytest.mark.parametrize("count", [0, 1, 5, 20])
async def test_hang_up_after_chunks(count: int) -> None:
    """A caller who leaves closes the upstream within a second and pays for what was produced, at least a token."""
    never = asyncio.Event()
    words = [f"word{number:04d}" for number in range(count)]
    pieces = [event(chunk({"content": word})) for word in words]
    waits = [] if count else [never]
    async with (
        FakeOpenAI(lambda _: Reply(pieces=[*pieces, never], before=waits)) as fake,
        rig(pool(account(fake.base_url))) as made,
    ):
        call = job(STREAM)
        answered = made.edge.offer(call)
        await until(lambda: fake.received and answered.data.count(b"\n\n") == count, "the chunks")
        waited = Ticks()
        answered.cancel()
        await asyncio.wait_for(fake.received[0].closed.wait(), 10)
        assert waited.s < 1.0
        bill = await made.ledger.event(call)
        assert (bill.outcome, bill.known) == (Outcome.CANCELLED, Known.ESTIMATED)
        assert bill.usage == TokenUsage(
            input=prompt_tokens(call), output=max(1, output_tokens("".join(words), call.upstream))
        )
        # Only then does its edge hear of it, and forgets the call.
        await until(lambda: isinstance(answered.last, Failed), "word that the call is recorded")


async def test_connection_refused_goes_to_the_next_account() -> None:
    """What cannot have reached a provider is tried elsewhere, and billed once."""
    async with FakeOpenAI() as fake:
        dead = account(f"http://127.0.0.1:{free_port()}/v1", "dead")
        async with rig(pool(dead, account(fake.base_url, "b"))) as made:
            call = job(BODY)
            answered = await made.edge.call(call)
            assert isinstance(answered.last, End)
            bill = await made.ledger.event(call)
            assert [(attempt.account, attempt.outcome, attempt.usage) for attempt in bill.tries] == [
                ("dead", Outcome.FAILED, NO_USAGE),
                ("b", Outcome.OK, TokenUsage(input=7, output=4)),
            ]


@pytest.mark.parametrize("reused", [True, False])
async def test_hang_up_without_an_answer_is_not_tried_again(monkeypatch, reused: bool) -> None:
    """A provider that read a request and hung up may have served it: no second account is paid, reused connection or not."""
    # No list is asked for: its connection would be one to reuse.
    monkeypatch.setattr(pools, "stock", lambda _: None)
    replies = [answer] if reused else []

    def handler(received: Received) -> Reply:
        return replies.pop()(received) if replies else Reply(silent=True, cut=True)

    async with (
        FakeOpenAI(handler) as fake,
        FakeOpenAI() as other,
        rig(pool(account(fake.base_url), account(other.base_url, "b", max_inflight=1))) as made,
    ):
        if reused:
            assert isinstance((await made.edge.call(job(BODY))).last, End)
        call = job(BODY)
        answered = await made.edge.call(call)
        assert answered.failed.error.status == 502
        assert not other.received
        assert fake.received[-1].connection == 1
        bill = await made.ledger.event(call)
        assert bill.usage == NO_USAGE
        assert bill.tries[0].usage.input == prompt_tokens(call)


async def test_errors_choose_the_next_account_or_not() -> None:
    """429, 401 and 5xx go to the next account and mark the first; 400 is the caller's, with the upstream's words."""
    status = 429

    def handler(_: Received) -> Reply:
        made = error(status, "No: sk-proj-abcdefgh1234", code="c", param="messages")
        return Reply(made.status, made.pieces, {"retry-after": "7"}, length=True)

    async with FakeOpenAI(handler) as fake, FakeOpenAI() as other:
        first = account(fake.base_url)
        async with rig(pool(first, account(other.base_url, "b"))) as made:
            assert isinstance((await made.edge.call(job(BODY))).last, End)
            await until(lambda: made.beat().accounts[0].models, "the beat")
            (cooling,) = made.beat().accounts[0].models
            assert (cooling.id, cooling.state) == ("up-m", AccountState.COOLING)
            assert 5 < cooling.until - time.time() < 8
            assert made.beat().accounts[0].state is AccountState.OK
        status = 401
        async with rig(pool(first, account(other.base_url, "b"))) as made:
            assert isinstance((await made.edge.call(job(BODY))).last, End)
            await until(lambda: made.beat().accounts[0].state is AccountState.REFUSED, "the beat")
        status = 400
        async with rig(pool(first, account(other.base_url, "b"))) as made:
            call = job(BODY)
            wrong = (await made.edge.call(call)).failed.error
            assert (wrong.status, wrong.param, wrong.code) == (400, "messages", "c")
            assert "sk-proj" not in wrong.message
            bill = await made.ledger.event(call)
            assert (bill.outcome, bill.usage) == (Outcome.FAILED, NO_USAGE)


async def test_only_account_cooling_refused_and_spent() -> None:
    """With no account left, jobs are bounced with the reason, models leave the beat, and none reaches the upstream."""
    replies = [error(429, "slow", code="rate_limit_exceeded")]
    async with FakeOpenAI(lambda _: replies[0]) as fake:
        for reply, status in (
            (Reply(429, replies[0].pieces, {"retry-after": "30"}, length=True), 429),
            (error(401, "no"), 502),
            (error(429, "no", code="insufficient_quota"), 429),
        ):
            replies[0] = reply
            async with rig(pool(account(fake.base_url))) as made:
                assert (await made.edge.call(job(BODY))).failed.error.status == status
                seen = len(fake.received)
                bounced = (await made.edge.call(job(BODY))).last
                assert isinstance(bounced, Bounce)
                assert bounced.error is not None
                assert bounced.error.status == status
                assert len(fake.received) == seen
                await until(lambda: made.beat().models == (), "the model leaves")
                assert "m" in made.beat().missing


async def test_gone_model() -> None:
    """A model that its provider says is gone is a 404 that names the successor, and leaves the list."""
    async with (
        FakeOpenAI(lambda _: error(404, "The model does not exist", code="model_not_found")) as fake,
        rig(pool(account(fake.base_url)), (model(successor="other"), model("other"))) as made,
    ):
        wrong = (await made.edge.call(job(BODY))).failed.error
        assert (wrong.status, wrong.code, wrong.param) == (404, "model_not_found", "model")
        assert "`other`" in wrong.message
        await until(lambda: made.beat().gone == ("m",), "the beat")
        assert made.beat().models == ("other",)
        again = (await made.edge.call(job(BODY))).last
        assert isinstance(again, Bounce)
        assert again.error == wrong


async def test_a_successor_that_is_not_served_is_not_named() -> None:
    """A row's successor is told if this pool serves it, by either name; what an operator's row names is told as it is."""
    models = (
        model("a", successor="nobody"),
        model("b", successor="c"),
        model("openai/c", upstream="c"),
        model("d", successor="nobody", pinned=True),
    )
    async with (
        FakeOpenAI(lambda _: error(404, "The model does not exist", code="model_not_found")) as fake,
        rig(pool(account(fake.base_url)), models) as made,
    ):
        told = {}
        for name in ("a", "b", "d"):
            call = job(BODY, model=name, upstream=f"up-{name}", scope="one")
            told[name] = (await made.edge.call(call)).failed.error.message.partition("Use ")[2]
    assert told == {"a": "", "b": "`openai/c` instead.", "d": "`nobody` instead."}


async def test_error_as_first_event_is_an_early_failure() -> None:
    """A 200 whose first event is an error counts as a failure before the first byte: the next account serves."""
    failing = event({"error": {"message": "busy", "type": "server_error", "code": None}})
    async with (
        FakeOpenAI(lambda _: Reply(pieces=[failing])) as fake,
        FakeOpenAI() as other,
        rig(pool(account(fake.base_url), account(other.base_url, "b"))) as made,
    ):
        call = job(STREAM)
        answered = await made.edge.call(call)
        assert isinstance(answered.last, End)
        assert b"busy" not in answered.data
        assert (await made.ledger.event(call)).usage == TokenUsage(input=7, output=4)


async def test_first_byte_and_total_deadlines() -> None:
    """An upstream that never answers is hung up on when the call's time is over: 504, and our cost."""
    never = asyncio.Event()
    async with FakeOpenAI(lambda _: Reply(before=[never])) as fake, rig(pool(account(fake.base_url))) as made:
        for body in (BODY, STREAM):
            call = job(body, deadline_s=0.5)
            answered = await made.edge.call(call)
            assert answered.failed.error.status == 504
            await asyncio.wait_for(fake.received[-1].closed.wait(), 10)
            assert (await made.ledger.event(call)).usage == NO_USAGE


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, [b"\x1f\x8b" + b"\0" * 64], {"content-encoding": "gzip"}),
        Reply(302, [b""], {"location": "http://127.0.0.1:1/"}, length=True),
        Reply(200, [b"<html>"], length=True),
        Reply(200, [b'{"choices": []'], length=True),
        Reply(200, [b'{"id": "x"}'], length=True),
        Reply(200, [b'{"error": {"message": "oh", "code": "server_error"}}'], length=True),
        Reply(204, [], length=True),
    ],
)
@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_nonsense_is_a_502(reply: Reply, body: dict[str, Any]) -> None:
    """Compressed bodies, redirects, HTML, half JSON and empty answers are a 502 that bills nothing."""
    async with FakeOpenAI(lambda _: reply) as fake, rig(pool(account(fake.base_url))) as made:
        call = job(body)
        answered = await made.edge.call(call)
        assert answered.failed.error.status == 502
        assert (await made.ledger.event(call)).usage == NO_USAGE


async def test_endless_line_and_endless_body() -> None:
    """A line or a body without end is cut at its bound."""
    block = b"x" * 1_000_000
    endless: list[Any] = [block] * (ANSWER_BYTES_MAX // len(block) + 20)
    async with (
        FakeOpenAI(lambda _: Reply(pieces=[b"data: ", *endless])) as fake,
        rig(pool(account(fake.base_url))) as made,
    ):
        for body in (STREAM, BODY):
            answered = await made.edge.call(job(body))
            assert answered.failed.error.status == 502
            await asyncio.wait_for(fake.received[-1].closed.wait(), 10)


async def test_large_plain_answer_is_windowed() -> None:
    """An answer of several megabytes arrives whole, in frames within their bound, and never more than the window ahead."""
    text = "\u65e5" * 1_500_000
    async with (
        FakeOpenAI(lambda _: Reply(pieces=[plain(text, usage(7, 9))], length=True)) as fake,
        rig(pool(account(fake.base_url))) as made,
    ):
        call = job(BODY)
        answered = made.edge.offer(call)
        answered.credit = False
        await until(lambda: len(answered.data) >= WINDOW_BYTES_MAX, "the window")
        await asyncio.sleep(0.3)
        assert len(answered.data) <= WINDOW_BYTES_MAX + 256 * 1024
        answered.credit = True
        answered.give_credit()
        await answered.end()
        assert json.loads(answered.data)["choices"][0]["message"]["content"] == text
        assert all(
            len(frame.data) <= 256 * 1024 for frame in answered.frames if isinstance(frame, Data | End)
        )
        assert isinstance(answered.frames[0], Accept)


async def test_slow_edge_pauses_the_upstream() -> None:
    """Without credit the worker stops reading: the provider is held back, and memory stays bounded."""
    pieces: list[Any] = [event(chunk({"content": "x" * 60_000}))] * 200
    async with (
        FakeOpenAI(lambda _: Reply(pieces=[*pieces, event("[DONE]")])) as fake,
        rig(pool(account(fake.base_url))) as made,
    ):
        answered = made.edge.offer(job(STREAM))
        answered.credit = False
        await until(lambda: len(answered.data) >= WINDOW_BYTES_MAX, "the window")
        await asyncio.sleep(0.3)
        assert len(answered.data) < WINDOW_BYTES_MAX + 256 * 1024
        answered.credit = True
        answered.give_credit()
        await answered.end()
        assert answered.data.count(b"\n\n") == 200
