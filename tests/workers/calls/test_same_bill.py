"""One answer of a provider costs the same in every dialect, plain and streamed: its own usage is billed, never a rendered one."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from schemas.bus.frames import Job
from schemas.bus.usage import Known
from schemas.catalogue.model import Model
from schemas.money.pricing import Price, PriceTier, TokenUsage, charge
from tests.fakes import anthropic, bedrock_frames, dialects, gemini, openai, responses
from tests.fakes.dialects import Answer, counted
from tests.fakes.estimated import output_tokens
from tests.fakes.spoken import RESPONSES, STREAMED, TALKING, TOOL, question
from tests.workers.providers.anthropic.cases import job
from tests.workers.providers.test_families import ACCOUNT, CASES
from workers.calls.factors import Factors
from workers.calls.tries import Tries
from workers.providers import family
from workers.providers.base import Exchange, Headed

NATIVE = "native"  # OpenAI, asked for responses themselves
ROWS: dict[str, Model] = {case.provider: case.model for case in CASES}
_ABLE = ROWS["openai"].capabilities
ROWS[NATIVE] = msgspec.structs.replace(
    ROWS["openai"], capabilities=msgspec.structs.replace(_ABLE, responses=True)
)
PRICE = Price(
    id="p",
    tiers=(
        PriceTier(
            input=Decimal("3.00"),
            output=Decimal("15.00"),
            cached=Decimal("0.30"),
            cache_write=Decimal("3.75"),
            cache_write_long=Decimal("6.00"),
            input_audio=Decimal("7.10"),
            reasoning=Decimal("14.00"),
        ),
    ),
    uplifts={"priority": Decimal("1.75")},
)
RATE = Decimal("0.6137")
EVERY_CLASS = TokenUsage(
    input=1_001, cached=333, cache_write=77, cache_write_long=55, input_audio=13, output=41, reasoning=29
)
CALL = ("call_1", TOOL, {"at": "the sea"})
TEXT = Answer(("Hel", "lo ", "wörld."), EVERY_CLASS)
TOOLS = Answer(("Look", "ing."), TokenUsage(input=100, cached=20, output=30, reasoning=7), (CALL,))
SAID = "Looking." + '{"at":"the sea"}'
USAGES = ("usage", "usageMetadata")
Edit = Callable[[dict[str, Any]], dict[str, Any] | None]
Bill = tuple[TokenUsage, Known, tuple[str, ...], int]
every_way = pytest.mark.parametrize("way", ROWS)


def same(usage: dict[str, Any]) -> dict[str, Any]:
    """As it was."""
    return usage


def objects(way: str, answer: Answer) -> list[dict[str, Any]]:
    """The events of a stream as their provider's JSON."""
    if way == NATIVE:
        return [json.loads(event.split(b"data: ", 1)[1]) for event in responses.events(answer)]
    made = {
        "openai": dialects.openai_chunks,
        "anthropic": dialects.anthropic_objects,
        "gemini": dialects.gemini_objects,
    }[way]
    return made(answer)


def whole(way: str, answer: Answer) -> dict[str, Any]:
    """The same as a plain answer."""
    match way:
        case "openai":
            return dict(json.loads(dialects.openai_body(answer)))
        case "anthropic":
            return anthropic.whole(tuple(objects(way, answer)))
        case "gemini":
            return gemini.whole(tuple(objects(way, answer)))
        case "bedrock":
            return dialects.bedrock_body(answer)
    return responses.response(answer)


def edited(value: Any, edit: Edit) -> Any:
    """A JSON value with each usage object in it as `edit` leaves it."""
    if isinstance(value, list):
        return [edited(one, edit) for one in value]
    if not isinstance(value, dict):
        return value
    made = {name: edited(one, edit) for name, one in value.items() if name not in USAGES}
    told = {name: edit(value[name]) for name in USAGES if value.get(name) is not None}
    return made | {name: one for name, one in told.items() if one is not None}


def at_tier(way: str, value: dict[str, Any], tier: str) -> dict[str, Any]:
    """An object that says which service tier has served, where its provider says so."""
    if not tier or way == "gemini":  # which says it in its head
        return value
    if way == "bedrock":
        return value | {"serviceTier": {"type": tier}}
    if way == "anthropic":
        return dict(edited(value, lambda usage: usage | {"service_tier": tier}))
    if "response" in value:
        return value | {"response": value["response"] | {"service_tier": tier}}
    return value | {"service_tier": tier}


def wire(way: str, answer: Answer, edit: Edit, *, stream: bool, tier: str = "") -> bytes:
    """The bytes of a whole answer."""
    if not stream:
        return json.dumps(edited(at_tier(way, whole(way, answer), tier), edit)).encode()
    if way == "bedrock":
        frames = dialects.bedrock_events(answer)[:-1]
        told = at_tier(way, {"usage": dialects.bedrock_usage(answer.usage)}, tier)
        return b"".join(frames) + bedrock_frames.event("metadata", edited(told, edit))
    return framed(way, [edited(at_tier(way, event, tier), edit) for event in objects(way, answer)])


def framed(way: str, events: list[dict[str, Any]]) -> bytes:
    """A stream of these events, as it ends well."""
    match way:
        case "openai":
            return b"".join(map(openai.event, [*events, "[DONE]"]))
        case "anthropic":
            return b"".join(map(anthropic.framed, events))
        case "gemini":
            return b"".join(map(gemini.framed, events))
    return b"".join(responses.event(number, event) for number, event in enumerate(events))


def spoken(way: str, dialect: str) -> str:
    """Which of OpenAI's routes a model with both is asked by."""
    return "openai" if way == NATIVE and dialect != RESPONSES else way


def opened(way: str, dialect: str, answer: Answer, *, stream: bool) -> tuple[Exchange, Job]:
    """The exchange of a call, its request made, and its job."""
    row = ROWS[way]
    body = json.dumps(question(dialect, "M", "hi", stream=stream, tools=bool(answer.calls))).encode()
    of = job({}, dialect=dialect, stream=stream, body=body, upstream=row.upstream, price=PRICE)
    (made,) = family(row.provider).open(of, row, {})
    made.request(ACCOUNT)
    return made, of


def counted_up(made: Exchange, of: Job) -> Bill:
    """What an exchange that has ended is billed."""
    tries = Tries(of, Factors())
    tries.record(made, account_id="a", status=200, fault=made.fault, exchanges=1, caller_left=False)
    return tries.usage, tries.known, tries.uplifts, charge(tries.usage, PRICE, RATE, tries.uplifts)


def bill(way: str, dialect: str, answer: Answer, edit: Edit, *, stream: bool, tier: str = "") -> Bill:
    """What a caller of a dialect is billed: tokens, how they are known, uplifts, nano-dollars. Gemini's head names `tier`."""
    made, of = opened(way, dialect, answer, stream=stream)
    if tier and isinstance(made, Headed):
        made.head({"x-gemini-service-tier": tier})
    data = wire(spoken(way, dialect), answer, edit, stream=stream, tier=tier)
    out = made.feed(data) + made.close() if stream else made.answer(data)
    assert made.fault is None, (dialect, stream)
    assert made.finished
    assert out
    return counted_up(made, of)


def bills(way: str, answer: Answer, edit: Edit = same, tier: str = "") -> Iterator[Bill]:
    """The bill in every dialect, plain and streamed."""
    # A legacy completion has no tools, so that dialect is not asked for them.
    for dialect in TALKING if answer.calls else STREAMED:
        for stream in (False, True):
            yield bill(way, dialect, answer, edit, stream=stream, tier=tier)


def told_by(way: str, answer: Answer) -> Answer:
    """The answer with the classes that its provider knows; a response knows of no audio."""
    usage = counted("openai" if way == NATIVE else way, answer.usage)
    if way == NATIVE:
        usage = msgspec.structs.replace(usage, input=usage.input + usage.input_audio, input_audio=0)
    return msgspec.structs.replace(answer, usage=usage)


@every_way
@pytest.mark.parametrize("answer", [TEXT, TOOLS], ids=["every class", "tools"])
def test_every_dialect_costs_the_same(way: str, answer: Answer) -> None:
    """The provider's classes, to the nano-dollar, whoever asks in whatever way."""
    told = told_by(way, answer)
    assert set(bills(way, told)) == {(told.usage, Known.REPORTED, (), charge(told.usage, PRICE, RATE))}


@every_way
def test_every_dialect_costs_the_same_at_a_tier(way: str) -> None:
    """The tier that served is billed, in whatever place its provider names it."""
    told = told_by(way, TOOLS)
    at_list = charge(told.usage, PRICE, RATE, ("priority",))
    found = set(bills(way, told, tier="priority"))
    assert found == {(told.usage, Known.REPORTED, ("priority",), at_list)}
    assert at_list > charge(told.usage, PRICE, RATE)


def nothing(usage: dict[str, Any]) -> None:
    """No word on usage."""
    del usage


def negative(usage: dict[str, Any]) -> dict[str, Any]:
    """Figures that cannot be."""
    return {name: -5 if type(value) is int else value for name, value in usage.items()}


def promptless(usage: dict[str, Any]) -> dict[str, Any]:
    """Output alone: a prompt that nobody has counted is not free."""
    of_prompt = ("input", "prompt", "cache", "cached")
    return {name: value for name, value in usage.items() if not name.startswith(of_prompt)}


def zeroed(usage: dict[str, Any]) -> dict[str, Any]:
    """The same with nothing counted."""
    return {name: zeroed(value) if isinstance(value, dict) else 0 for name, value in usage.items()}


def zeroed_counts(usage: dict[str, Any]) -> dict[str, Any]:
    """The counts alone, of nothing."""
    return {name: 0 for name, value in usage.items() if type(value) is int}


def absurd(usage: dict[str, Any]) -> dict[str, Any]:
    """Figures that no window has room for, and that the books refuse."""
    return {name: 10**10 if type(value) is int else value for name, value in usage.items()}


@pytest.mark.parametrize("edit", [nothing, negative, absurd, promptless])
@pytest.mark.parametrize("way", [way for way in ROWS if way != "bedrock"])
def test_an_end_without_usage_is_estimated_alike(way: str, edit: Edit) -> None:
    """No usage, or none that can be, or half of one: what was produced is billed by the rule, the same in every dialect, never as nothing."""
    found = list(bills(way, TOOLS, edit))
    said = output_tokens(SAID, ROWS[way].upstream)
    assert {(known, usage.completion) for usage, known, _, _ in found} == {(Known.ESTIMATED, said)}
    prompts = [usage.prompt for usage, _, _, _ in found]  # by each dialect's own words for the same request
    assert 0 < max(prompts) <= 1.5 * min(prompts)
    assert min(nano for _, _, _, nano in found) > 0


@pytest.mark.parametrize("edit", [negative, absurd])
def test_bedrocks_nonsense_is_estimated_alike(edit: Edit) -> None:
    """It always sends usage, which ends its streams: figures that cannot be do not make an answer a failure."""
    found = {(known, usage.completion) for usage, known, _, _ in bills("bedrock", TOOLS, edit)}
    assert found == {(Known.ESTIMATED, output_tokens(SAID, ROWS["bedrock"].upstream))}


@pytest.mark.parametrize("dialect", TALKING)
@pytest.mark.parametrize("way", ["anthropic", "gemini"])
def test_what_was_counted_at_the_beginning_alone_is_raised(way: str, dialect: str) -> None:
    """The prompt is billed as it was told; of the output, which nobody counted, an estimate."""
    told: list[dict[str, Any]] = []

    def beginning(usage: dict[str, Any]) -> dict[str, Any] | None:
        told.append(usage)
        if way == "gemini":
            return {"promptTokenCount": usage["promptTokenCount"]}
        return usage if len(told) == 1 else None

    usage, known, _, _ = bill(way, dialect, TOOLS, beginning, stream=True)
    assert (known, usage.prompt) == (Known.ESTIMATED, TOOLS.usage.prompt)
    assert usage.completion == output_tokens(SAID, ROWS[way].upstream)


@pytest.mark.parametrize("dialect", TALKING)
@pytest.mark.parametrize("way", [way for way in ROWS if way != "bedrock"])
def test_a_later_zero_lowers_nothing(way: str, dialect: str) -> None:
    """A usage that shrinks to nothing at the end leaves the bill at what was told before. Bedrock tells it once."""
    told = told_by(way, TOOLS)
    made, of = opened(way, dialect, told, stream=True)
    name = spoken(way, dialect)
    if name == NATIVE:  # a response's usage is told once: what comes behind its end is not heard
        zeros = [objects(name, Answer((), TokenUsage()))[-1]]
        events = [*objects(name, told), *zeros]
    elif name == "anthropic":
        zeros = [
            event | {"usage": zeroed(event["usage"])}
            for event in objects(name, told)
            if event["type"] == "message_delta"
        ]
        events = [*objects(name, told)[:-1], *zeros, objects(name, told)[-1]]
    elif name == "gemini":
        last = objects(name, told)[-1]
        events = [*objects(name, told), {"usageMetadata": zeroed_counts(last["usageMetadata"])}]
    else:
        chunks = objects(name, told)
        events = [*chunks, chunks[-1] | {"usage": dialects.openai_usage(TokenUsage())}]
    out = made.feed(framed(name, events)) + made.close()
    assert out
    assert made.finished
    usage, known, _, _ = counted_up(made, of)
    assert (usage, known) == (told.usage, Known.REPORTED)


@every_way
def test_an_incomplete_answer_costs_what_was_counted(way: str) -> None:
    """Cut by its limit: its usage is read as that of a complete one, in every dialect, plain and streamed."""
    told = told_by(way, TEXT)
    words = {
        "stop": "length",
        "end_turn": "max_tokens",
        "STOP": "MAX_TOKENS",
        "completed": "incomplete",
        "response.completed": "response.incomplete",
    }

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: cut(one) for name, one in value.items()}
        if isinstance(value, list):
            return [cut(one) for one in value]
        return words.get(value, value) if isinstance(value, str) else value

    for dialect in STREAMED:
        name = spoken(way, dialect)
        for stream in (False, True):
            made, of = opened(way, dialect, told, stream=stream)
            if not stream:
                assert made.answer(json.dumps(cut(whole(name, told))).encode())
            elif name == "bedrock":
                *frames, _, last = dialects.bedrock_events(told)
                stop = bedrock_frames.event("messageStop", {"stopReason": "max_tokens"})
                assert made.feed(b"".join((*frames, stop, last)))
            else:
                assert made.feed(framed(name, [cut(event) for event in objects(name, told)])) + made.close()
            assert made.finished, (dialect, stream)
            assert counted_up(made, of)[:2] == (told.usage, Known.REPORTED), (dialect, stream)


@pytest.mark.parametrize("dialect", TALKING)
@pytest.mark.parametrize("way", [way for way in ROWS if way != "bedrock"])
def test_a_failed_answer_costs_what_was_counted(way: str, dialect: str) -> None:
    """A failure that comes with usage, or after it: the tokens are billed, though it is no answer."""
    told = told_by(way, TOOLS)
    made, of = opened(way, dialect, told, stream=True)
    name = spoken(way, dialect)
    *events, last = objects(name, told)
    if name == NATIVE:
        failed = last["response"] | {"status": "failed", "error": {"code": "server_error", "message": "busy"}}
        events.append({"type": "response.failed", "response": failed})
    else:
        error = {
            "openai": {"error": {"message": "busy", "type": "server_error", "code": "server_error"}},
            "anthropic": anthropic.error_body("overloaded_error", "Overloaded"),
            "gemini": gemini.error_body(503, "UNAVAILABLE", "The model is overloaded."),
        }[name]
        events += [error] if name == "anthropic" else [last, error]
    made.feed(framed(name, events))
    assert made.fault is not None
    assert not made.fault.unbilled
    assert not made.finished
    usage, known, _, _ = counted_up(made, of)
    assert (usage, known) == (told.usage, Known.ESTIMATED)
