"""A character that a provider cuts in two between events reaches callers whole: each family, each dialect, each cut."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.money.pricing import TokenUsage
from tests.fakes import bedrock_frames
from tests.fakes.dialects import Answer, anthropic_events, bedrock_events, gemini_events, openai_events
from tests.fakes.histories import TELLERS, User
from tests.fakes.responses import events as responses_events
from tests.workers.providers.test_foreign_histories import ROWS, opened
from workers.providers.base import Exchange
from workers.providers.bedrock.event_stream import FrameBuffer

TEXT = "\u00e9\U0001f600\U0001d11ex"
MARK = b"CUTHERE"
USAGE = TokenUsage(input=5, output=5)
SAID = Answer((MARK.decode(),), USAGE)
CALLED = Answer((), USAGE, (("call_1", "f", {"a": MARK.decode()}),))
OWN = AccountSettings(
    id="main", api_key="k", region="us-east-1", access_key_id="AKIDEXAMPLE", secret_access_key="secret"
)
FAMILIES: dict[str, tuple[str, Callable[[Answer], list[bytes]]]] = {
    "openai": ("openai", openai_events),
    "compatible": ("openai", openai_events),
    "responses": ("openai responses", responses_events),
    "claude": ("claude-opus-4-8", anthropic_events),
    "gemini": ("gemini-3.8-flash", gemini_events),
    "converse": ("amazon.nova-lite-v1:0", bedrock_events),
}
WAYS = [
    (name, dialect)
    for name in FAMILIES
    for dialect in TELLERS
    if name != "responses" or dialect == "responses"  # in others it is asked for a chat
]
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*?CUTHERE')


def units(text: str) -> list[bytes]:
    """A text in JSON by the escapes of its UTF-16 units: what servers in JavaScript cut."""
    raw = text.encode("utf-16-be")
    return [b"\\u%b" % raw[at : at + 2].hex().encode() for at in range(0, len(raw), 2)]


def octets(text: str) -> list[bytes]:
    """A text by its bytes in UTF-8: what servers cut that send tokens as they are."""
    raw = text.encode()
    return [raw[at : at + 1] for at in range(len(raw))]


def cuts(pieces: list[bytes]) -> Iterator[list[bytes]]:
    """A text in two at each place, and in as many as there are pieces."""
    for at in range(len(pieces) + 1):
        yield [b"".join(pieces[:at]), b"".join(pieces[at:])]
    yield pieces


def opened_up(event: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    """What an event says, and how it is wrapped up again."""
    if b":message-type" not in event:
        return event, lambda told: told
    ((head, payload),) = FrameBuffer().frames(event)
    headers = {":event-type": head.name, ":content-type": "application/json", ":message-type": "event"}
    return payload, lambda told: bedrock_frames.encode_frame(headers, told)


def cut(events: list[bytes], text: list[bytes]) -> list[bytes]:
    """A stream whose first event with the mark comes once for each piece of a text; later ones have all of it."""
    made: list[bytes] = []
    whole = json.dumps("".join(TEXT)).encode()[1:-1]
    begun = False
    for event in events:
        told, wrapped = opened_up(event)
        found = _STRING.search(told)
        if found is None or begun or b'"delta"' not in told.replace(b"candidates", b'"delta"'):
            made.append(wrapped(told.replace(MARK, whole)))
            continue
        begun = True
        end = re.compile(rb'(?:[^"\\]|\\.)*').match(told, found.end())
        assert end is not None
        before, after = told[: found.start() + 1], told[end.end() :]
        opening = told[found.start() + 1 : found.end() - len(MARK)]
        for at, piece in enumerate(text):
            first = opening if at == 0 else b""
            last = end[0] if at == len(text) - 1 else b""
            made.append(wrapped(before + first + piece + last + after))
    assert begun
    return made


def exchange(name: str, dialect: str) -> Exchange:
    """A stream that has been asked for."""
    row, _ = ROWS[FAMILIES[name][0]]
    made: Exchange = opened(TELLERS[dialect]((User("go"),)) | {"stream": True}, dialect, row, stream=True)
    made.request(structs.replace(OWN, base_url="http://up/v1") if name == "compatible" else OWN)
    return made


def heard(dialect: str, out: bytes) -> tuple[str, str]:
    """The texts and the arguments of a caller's stream, put together as clients do."""
    texts = arguments = ""
    for line in out.split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if dialect == "chat":
            for choice in event["choices"]:
                texts += choice["delta"].get("content") or ""
                for call in choice["delta"].get("tool_calls") or ():
                    arguments += call["function"].get("arguments") or ""
        elif dialect == "messages" and event["type"] == "content_block_delta":
            texts += event["delta"].get("text", "")
            arguments += event["delta"].get("partial_json", "")
        elif event["type"] == "response.output_text.delta":
            texts += event["delta"]
        elif event["type"] == "response.function_call_arguments.delta":
            arguments += event["delta"]
    return texts, arguments


@pytest.mark.parametrize("pieces", [units, octets])
@pytest.mark.parametrize(("name", "dialect"), WAYS)
def test_a_cut_character_comes_whole(name: str, dialect: str, pieces: Callable[[str], list[bytes]]) -> None:
    """Texts and arguments are what was said, wherever they were cut, in one read or in many."""
    for text in cuts(pieces(TEXT)):
        for answer in (SAID, CALLED) if name != "gemini" else (SAID,):  # Gemini's calls come whole
            events = cut(FAMILIES[name][1](answer), text)
            for reads in (events, [b"".join(events)]):
                made = exchange(name, dialect)
                out = b"".join(map(made.feed, reads))
                out += b"" if made.finished else made.close()
                assert made.finished, (text, made.fault)
                texts, arguments = heard(dialect, out)
                if answer is SAID:
                    assert texts == TEXT, text
                else:
                    assert json.loads(arguments) == {"a": TEXT}, text
                assert b"\xef\xbf\xbd" not in out
                assert b"\\ufffd" not in out


@pytest.mark.parametrize(("name", "dialect"), WAYS)
def test_a_half_that_nothing_completes_costs_one_character(name: str, dialect: str) -> None:
    """What follows it is whole, and nothing else is lost."""
    for half in (rb"\ud83d", "\U0001f600".encode()[:3]):
        made = exchange(name, dialect)
        out = b"".join(map(made.feed, cut(FAMILIES[name][1](SAID), [b"a" + half, b"b", b"c"])))
        out += b"" if made.finished else made.close()
        assert made.finished, made.fault
        assert heard(dialect, out)[0] == "a\ufffdbc"
