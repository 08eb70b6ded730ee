"""Owns how calls end in every dialect over the whole path, native and translated: hang-ups, failures, retries, and one bill for all."""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from msgspec import Struct, structs

from schemas.money.pricing import TokenUsage
from tests.fakes import anthropic, bedrock, gemini, openai, thinking
from tests.fakes.caller import Seen, call, session
from tests.fakes.dialects import Answer, counted
from tests.fakes.estimated import output_tokens
from tests.fakes.families import (
    PICTURES,
    RATE,
    UPSTREAMS,
    by_hand,
    model_toml,
    pool_toml,
    stages,
)
from tests.fakes.receipts import receipt
from tests.fakes.responses import NATIVE, WAYS, ResponsesStage
from tests.fakes.spoken import CHAT, COMPLETIONS, MESSAGES, PATHS, RESPONSES, TALKING, question
from tests.fakes.stages import Error
from tests.fakes.tokn import Tokn
from workers.calls.drains import KEY_DRAINS_MAX

pytestmark = pytest.mark.system

# A dialect and who answers: what each family speaks itself, and translations of each to each kind of caller.
PAIRS = (
    (CHAT, "openai"),
    (COMPLETIONS, "openai"),
    (RESPONSES, NATIVE),
    (MESSAGES, "anthropic"),
    (CHAT, "anthropic"),
    (RESPONSES, "openai"),
    (RESPONSES, "anthropic"),
    (MESSAGES, "openai"),
    (MESSAGES, "gemini"),
    (RESPONSES, "bedrock"),
)
every_pair = pytest.mark.parametrize("pair", PAIRS, ids=["-".join(pair) for pair in PAIRS])
PACE_S = 0.05  # between two events: who leaves after one is mostly gone before the last
SAY = "hello " * 40
TALK = Answer(thinking.TEXT, TokenUsage(input=40, cached=5, output=21))
CALLS = structs.replace(TALK, calls=thinking.ANSWER.calls)
EVERY_CLASS = TokenUsage(input=801, cached=333, cache_write=77, cache_write_long=55, output=41, reasoning=29)
ROW = (
    "SELECT u.request_id, u.outcome, u.known, u.billed_nano, h.amount_nano, h.state, u.input, u.cached, "
    "u.cache_write, u.cache_write_1h, u.input_audio, u.output, u.reasoning, u.output_audio, u.tries "
    "FROM usage u JOIN holds h ON h.request_id = u.request_id WHERE u.slot = 0 AND u.key_id = "
)


@pytest.fixture(scope="module")
def played():
    """Two fakes of each provider that answer from one queue: whichever is asked first says what comes first."""
    with stages(copies=2) as made, ResponsesStage() as one, ResponsesStage() as other:
        made[NATIVE] = [one, other]
        for first, second in made.values():
            if hasattr(first, "_queue"):
                second._queue = first._queue
            else:
                second._fake._scripts = first._fake._scripts
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with two accounts for each way."""
    text = ""
    for way in WAYS:
        provider = "openai" if way == NATIVE else way
        pool = pool_toml(way, provider, [stage.account for stage in played[way]])
        text += pool.replace("rate", "responses = true\nrate", 1) if way == NATIVE else pool
        text += model_toml(way, way, UPSTREAMS[provider], PICTURES)
    with Tokn(tmp_path_factory.mktemp("ends") / "data", text) as running:
        yield running
        proof = running.audit()
        assert (proof["ok"], proof["open_holds"], proof["expired"]) == (True, 0, 0), proof


@pytest.fixture(scope="module")
def http(tokn):
    """A client with the key and nothing else."""
    headers = {"Authorization": f"Bearer {tokn.key}"}
    # The first call of a fake has it read its provider's schemas, which is seconds of work.
    with httpx.Client(base_url=tokn.url, headers=headers, timeout=60) as client:
        yield client


class Row(Struct):
    """What the books say of one call."""

    outcome: str
    known: str
    billed_nano: int
    held_nano: int
    state: str
    usage: TokenUsage
    tries: list[list[Any]]


def rows(tokn: Tokn, key_id: str) -> dict[str, Row]:
    """All calls of a key, by their ids."""
    found = {}
    for request_id, outcome, known, billed, held, state, *counts, tries in tokn.read(f"{ROW}'{key_id}'"):
        usage = TokenUsage(*counts)
        found[request_id] = Row(outcome, known, billed, held, state, usage, json.loads(tries))
    return found


def think(stage: Any, way: str, count: int) -> None:
    """Queues an answer of every kind of event, so many times."""
    for _ in range(count):
        match way:
            case "anthropic":
                stage._fake.play(anthropic.Script(tuple(thinking.anthropic_events()), pace_s=PACE_S))
            case "gemini":
                stage._fake.play(gemini.Script(tuple(thinking.gemini_events()), pace_s=PACE_S))
            case "bedrock":
                stage._queue.append(lambda _: bedrock.Reply(frames=thinking.bedrock_events(), pace_s=PACE_S))
            case _:
                events = thinking.openai_events() if way == "openai" else thinking.responses_events()
                pieces = [piece for event in events for piece in (event, PACE_S)]
                stage._queue.append(lambda _, pieces=pieces: openai.Reply(pieces=list(pieces)))


def said(event: dict[str, Any]) -> str:
    """What of the model's own an event shows to its caller."""
    if (choices := event.get("choices")) is not None:
        delta = choices[0].get("delta", {"content": choices[0].get("text")}) if choices else {}
        calls = [one["function"].get("arguments") for one in delta.get("tool_calls", ())]
        return "".join(filter(None, [delta.get("content"), delta.get("reasoning_content"), *calls]))
    delta = event.get("delta")
    if isinstance(delta, str):
        return delta
    names = ("text", "thinking", "partial_json")
    return "".join(delta.get(name, "") for name in names) if isinstance(delta, dict) else ""


def _upstream(way: str) -> str:
    return UPSTREAMS.get(way, UPSTREAMS["openai"])


@every_pair
async def test_a_caller_may_leave_after_any_event(played, tokn, pair):
    """Whatever the event: one bill by the rule, for what was read at least and for what was made at most, within the hold.

    Bedrock bills an abandoned answer to its end, which is read and reported; so is one of a call that reasons, and one
    whose last event has come. No key leaves more answers at once than are read on.
    """
    dialect, way = pair
    body = question(dialect, way, SAY, stream=True, tools=dialect in TALKING)
    read_on = way == "bedrock"
    if dialect == MESSAGES and way == "anthropic":
        read_on = True
        body |= {"max_tokens": 2_000, "thinking": {"type": "enabled", "budget_tokens": 1_024}}

    async def new_key() -> dict[str, Any]:
        return await asyncio.to_thread(
            tokn.row, "key", "create", "--name", f"{dialect}-{way}", "--balance", "5"
        )

    async def leave(client: Any, key: dict[str, Any], after: int | None) -> Seen:
        leaves = None if after is None else (lambda seen: len(seen.chunks) >= after)
        return await call(client, tokn.url, key["key"], body, path=PATHS[dialect], leave=leaves)

    async with session() as client:
        think(played[way][0], way, 1)
        keys = [await new_key()]
        whole = await leave(client, keys[0], None)
        assert whole.complete, whole
        count = len(whole.chunks)
        assert count >= (4 if dialect == COMPLETIONS else 9)
        think(played[way][0], way, count + 1)
        keys += [await new_key() for _ in range(count // KEY_DRAINS_MAX)]
        left = await asyncio.gather(
            *(leave(client, keys[after // KEY_DRAINS_MAX], after) for after in range(count + 1))
        )
    booked: dict[str, Row] = {}
    for key in keys:
        await asyncio.to_thread(tokn.settled, key["id"])
        booked |= rows(tokn, key["id"])
    assert booked.keys() == {seen.request_id for seen in (whole, *left)}
    reported = counted("openai" if way == NATIVE else way, thinking.USAGE)
    made = max(
        reported.completion,
        output_tokens("".join((*thinking.THOUGHT, *thinking.TEXT, *thinking.ARGUMENTS)), _upstream(way)),
    )
    for after, seen in enumerate(left):
        row = booked[seen.request_id]
        read = output_tokens("".join(map(said, seen.chunks)), _upstream(way))
        assert row.state in {"settled", "estimated"}, after
        assert row.billed_nano == by_hand(row.usage), (after, row)
        assert 0 < row.billed_nano <= row.held_nano, (after, row)
        assert max(read, 1) <= row.usage.completion <= made, (after, row)
        assert row.usage.prompt > 0
        if row.known == "reported":
            assert row.usage == reported, (after, row)
        else:
            assert (row.outcome, row.known) == ("cancelled", "estimated"), (after, row)
    assert booked[whole.request_id].usage == reported
    early = {booked[seen.request_id].known for seen in left[: count // 2]}
    assert ("estimated" in early) is not read_on
    spent = sum(5_000_000_000 - tokn.balance(key["id"])["posted_nano"] for key in keys)
    assert spent == sum(row.billed_nano for row in booked.values())


def told(
    http: httpx.Client, dialect: str, way: str, *, tools: bool = False
) -> tuple[str, list[dict[str, Any]]]:
    """The call's id, and the data of each event of a stream, one that is no JSON as a text; none of a 502."""
    body = question(dialect, way, SAY, stream=True, tools=tools)
    answer = http.post(PATHS[dialect], json=body)
    if answer.status_code == 502:
        return answer.headers["x-request-id"], []
    assert answer.status_code == 200, answer.text
    lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    return answer.headers["x-request-id"], [
        json.loads(line) if line.startswith("{") else {"text": line} for line in lines
    ]


def check_failure(dialect: str, events: list[dict[str, Any]], request_id: str) -> list[dict[str, Any]]:
    """The dialect's own last events of a stream that failed, and nothing after them. Answers with those before."""
    if dialect in (CHAT, COMPLETIONS):
        *before, failure, done = events
        assert done == {"text": "[DONE]"}
        assert set(failure) == {"error"}
        assert failure["error"]["code"]
        return before
    if dialect == MESSAGES:
        *before, failure = events
        assert (failure["type"], failure["request_id"]) == ("error", request_id)
        assert failure["error"]["type"] in {"overloaded_error", "api_error"}
        return before
    *before, failure, last = events
    assert (failure["type"], last["type"]) == ("error", "response.failed")
    assert failure["code"] == failure["error"]["code"] == last["response"]["error"]["code"] == "server_error"
    assert last["response"]["status"] == "failed"
    assert last["response"]["id"] == f"resp_{request_id.removeprefix('req_')}"
    return before


ENDED = ("response.completed", "response.incomplete", "message_stop", "message_delta")


@every_pair
@pytest.mark.parametrize("how", ["broken", "cut", "end"])
def test_a_failure_under_way(played, tokn, http, pair, how):
    """An error, a reset, or an end without its last event: the dialect's own error events, and the bill of what was made."""
    dialect, way = pair
    (stage, _) = played[way]
    answer = CALLS if dialect in TALKING else TALK
    count = len(stage.events(answer)) // 2 + 1
    stage.play(answer, **{how: count})
    request_id, events = told(http, dialect, way, tools=dialect in TALKING)
    if how == "cut" and not events:
        assert receipt(http, request_id)["billed_nano"] == 0
        return  # the reset overtook the first event
    before = check_failure(dialect, events, request_id)
    assert not any(event.get("type") in ENDED for event in before)
    text = "".join(map(said, before))
    assert text or how == "cut"
    paid = receipt(http, request_id)
    usage = TokenUsage(**paid["tokens"])
    assert (paid["outcome"], paid["known"]) == ("failed", "estimated")
    assert paid["billed_nano"] == by_hand(usage) > 0
    assert usage.completion >= output_tokens(text, _upstream(way))
    (row,) = [row for key, row in rows(tokn, tokn.key_id()).items() if key == request_id]
    assert row.billed_nano <= row.held_nano
    assert len(row.tries) == 1


BUSY = {
    "openai": Error(503, {"error": {"message": "busy", "code": "server_is_overloaded"}}),
    "anthropic": Error(529, anthropic.error_body("overloaded_error", "Overloaded")),
    "gemini": Error(503, gemini.error_body(503, "UNAVAILABLE", "The model is overloaded.")),
    "bedrock": Error(503, "busy", name="ServiceUnavailableException"),
}


def refused(stage: Any, way: str) -> None:
    """A status before any answer."""
    stage.fail(BUSY["openai" if way == NATIVE else way])


def failed_at_once(stage: Any, way: str) -> None:
    """An error as a stream's first event."""
    del way
    stage.play(TALK, broken=0)


def failed_behind_the_head(stage: Any, way: str) -> None:
    """An error behind the events that stand before any word."""
    del way
    stage.play(TALK, broken=2)


FAULTS: list[tuple[Callable[[Any, str], None], bool]] = [
    (refused, False),
    (refused, True),
    (failed_at_once, True),
    (failed_behind_the_head, True),
]


@every_pair
def test_another_account_serves_before_the_first_token(played, http, pair):
    """Whatever fails before a word has come: the next account answers whole, and the call has one bill, of its own."""
    dialect, way = pair
    reported = counted("openai" if way == NATIVE else way, TALK.usage)
    for fault, stream in FAULTS:
        if fault is failed_behind_the_head and way != NATIVE:
            continue  # other providers' heads go out at once, and say what the call costs
        before = [len(stage.bodies) for stage in played[way]]
        fault(played[way][0], way)
        played[way][0].play(TALK)
        if stream:
            request_id, events = told(http, dialect, way)
            assert "".join(map(said, events)) == TALK.text
            assert sum(event.get("type") in ("response.created", "message_start") for event in events) == (
                dialect not in (CHAT, COMPLETIONS)
            )
            assert not any("error" in event for event in events)
        else:
            answer = http.post(PATHS[dialect], json=question(dialect, way, SAY))
            assert answer.status_code == 200, answer.text
            assert TALK.text in answer.text
            request_id = answer.headers["x-request-id"]
        paid = receipt(http, request_id)
        assert (paid["billed_nano"], paid["known"]) == (by_hand(reported), "reported"), fault
        assert [one["outcome"] for one in paid["tries"]] == ["failed", "ok"], fault
        after = [len(stage.bodies) for stage in played[way]]
        assert [now - then for then, now in zip(before, after, strict=True)] == [1, 1], fault
    assert not list(itertools.chain.from_iterable(_queued(stage) for stage in played[way]))


def _queued(stage: Any) -> Any:
    return stage._queue if hasattr(stage, "_queue") else stage._fake._scripts


@pytest.mark.parametrize("way", WAYS)
def test_one_answer_costs_the_same_in_every_dialect(played, http, way):
    """Plain and streamed, by the books: the same at list price, and the same bill."""
    usage = counted("openai" if way == NATIVE else way, EVERY_CLASS)
    bills = set()
    spoken = (RESPONSES,) if way == NATIVE else TALKING  # its fake has no chat
    for dialect, stream in itertools.product(spoken, (False, True)):
        played[way][0].play(structs.replace(CALLS, usage=usage))
        body = question(dialect, way, SAY * 8, stream=stream, tools=True)
        answer = http.post(PATHS[dialect], json=body)
        assert answer.status_code == 200, answer.text
        paid = receipt(http, answer.headers["x-request-id"])
        bills.add((paid["list_nano"], paid["billed_nano"], paid["known"]))
    ((at_list, billed, known),) = bills
    assert (billed, known) == (by_hand(usage), "reported")
    assert round(at_list * RATE) == billed


def test_a_last_event_larger_than_the_window_arrives_whole(played, http):
    """A response repeats its instructions at its end: however long they are, what was billed is what the caller has."""
    played["openai"][0].play(TALK)
    body = question(RESPONSES, "openai", SAY, stream=True) | {"instructions": "word " * 500_000}
    answer = http.post(PATHS[RESPONSES], json=body)
    last = json.loads(answer.text.rsplit("data: ", 1)[1])
    assert last["type"] == "response.completed", last
    assert last["response"]["instructions"] == body["instructions"]
    paid = receipt(http, answer.headers["x-request-id"])
    assert (paid["outcome"], paid["billed_nano"]) == ("ok", by_hand(TALK.usage))
