"""What a stream of fifty pieces costs a worker in each dialect, beside chat's on the same upstream."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct, structs

from schemas.bus.frames import Job
from schemas.catalogue.model import Capabilities, Model
from schemas.chat.request import CHAT
from schemas.dialects.messages.request import MESSAGES
from schemas.money.pricing import TokenUsage
from schemas.responses.request import RESPONSES
from tests.fakes import anthropic, costs, openai, responses
from tests.fakes.dialects import Answer, openai_events
from tests.workers.providers.anthropic.cases import job
from tests.workers.providers.test_families import ACCOUNT, CASES
from workers.providers import family

PIECES = 50
NATIVE_MAX, TRANSLATED_MAX = 1.3, 2.0  # of chat's CPU
ROUNDS = 100  # of four streams, each so short that a neighbour on the machine spoils few
USAGE = TokenUsage(input=40, output=50)
TEXT = Answer(tuple(f"word{index} " for index in range(PIECES)), USAGE)
FRAGMENTS = ('{"path":"', *(f"piece{index} " for index in range(PIECES)), '"}')
ELSEWHERE = structs.replace(ACCOUNT, base_url="http://127.0.0.1:9/v1")
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"stream_options": {"include_usage": True}},
    RESPONSES: {"input": "hi"},
    MESSAGES: {"max_tokens": 500},
}


class Way(Struct, frozen=True):
    """An upstream, and what of its streams is measured."""

    name: str
    model: Model
    events: dict[str, list[bytes]]  # by dialect, where that is not as for chat
    native: str = ""  # the dialect that it speaks beside, or in place of, chat
    compatible: bool = False  # a server that is not OpenAI's own
    dialects: tuple[str, ...] = (RESPONSES, MESSAGES)


def _called() -> dict[str, list[bytes]]:
    """A call whose arguments come in fifty pieces, as OpenAI and as Anthropic stream it."""
    opener = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}, {"tool_calls": [opener]}]
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": text}}]} for text in FRAGMENTS]
    chunks = [openai.chunk(delta, usage=None) for delta in deltas]
    chunks.append(openai.chunk({}, finish="tool_calls", usage=None))
    chunks.append(openai.chunk({}, usage=openai.usage(40, 50)) | {"choices": []})
    said = (
        anthropic.opening(),
        *anthropic.tool_use("toolu_1", "f", "", *FRAGMENTS),
        *anthropic.ending("tool_use"),
    )
    return {
        "openai": [openai.event(chunk) for chunk in chunks] + [openai.event("[DONE]")],
        "anthropic": list(map(anthropic.framed, said)),
    }


def ways() -> Iterator[Way]:
    """Every family with a text, and the two that stream arguments in pieces with a call."""
    calls = _called()
    for case in CASES:
        native = MESSAGES if case.provider == "anthropic" else ""
        yield Way(case.provider, case.model, {CHAT: case.events(TEXT)}, native)
        if case.provider in calls:
            yield Way(f"{case.provider}-call", case.model, {CHAT: calls[case.provider]}, native)
    chat = CASES[0].model
    yield Way("compatible", chat, {CHAT: openai_events(TEXT)}, compatible=True)
    speaks = structs.replace(chat, capabilities=Capabilities(responses=True))
    both = {CHAT: openai_events(TEXT), RESPONSES: responses.events(TEXT)}
    yield Way("native", speaks, both, RESPONSES, dialects=(RESPONSES,))


WAYS = tuple(ways())
PAIRS = [(way, dialect) for way in WAYS for dialect in way.dialects]


def asked(way: Way, dialect: str) -> Job:
    """The job of a stream."""
    body = {"model": "M", "stream": True, **ASKED[dialect]}
    if dialect != RESPONSES:
        body["messages"] = [{"role": "user", "content": "hi"}]
    raw = json.dumps(body).encode()
    known = {"dialect": dialect, "stream": True, "include_usage": dialect == CHAT, "scope": "s", "limit": 500}
    kept = dialect == RESPONSES  # its items are marked, for requests that refer to them
    return job({}, body=raw, body_bytes=len(raw), upstream=way.model.upstream, keeps=kept, **known)


def cpu_s(way: Way, of: Job) -> float:
    """CPU seconds of one stream, from its job to its end, an event a read."""
    serving = family(way.model.provider)
    events = way.events.get(of.dialect, way.events[CHAT])
    began = time.process_time()
    (made,) = serving.open(of, way.model, {})
    made.request(ELSEWHERE if way.compatible else ACCOUNT)
    for event in events:
        made.feed(event)
    if not made.finished:
        made.close()
    assert made.finished, made.fault
    return time.process_time() - began


@pytest.mark.alone
@pytest.mark.parametrize(("way", "dialect"), PAIRS, ids=[f"{way.name}-{dialect}" for way, dialect in PAIRS])
def test_a_stream_costs_at_most_so_much_of_a_chat(way, dialect):
    """CPU of the whole exchange, over many short runs in turn: 1.3 of chat's where it passes on, else 2."""
    own, chat = asked(way, dialect), asked(way, CHAT)
    found = costs.ratio(lambda: cpu_s(way, own), lambda: cpu_s(way, chat), ROUNDS)
    assert found <= (NATIVE_MAX if dialect == way.native else TRANSLATED_MAX), f"{found:.2f}"
