"""What a caller pays who leaves after the first words of an answer: the prompt as it is, in every dialect, at every family."""

import base64
import json
from typing import Any

import msgspec
import pytest

from schemas.bus.frames import Job
from schemas.bus.usage import Known
from schemas.catalogue.model import Model
from schemas.catalogue.profiles import profiled
from schemas.dialects import NAMED
from schemas.dialects.prompts import text_tokens
from schemas.estimates.sample import of_text
from schemas.estimates.weighed import weighed
from schemas.money.pricing import TokenUsage
from tests.fakes.dialects import Answer
from tests.fakes.media import data_url, png, wav
from tests.fakes.spoken import CHAT, COMPLETIONS, MESSAGES, RESPONSES, STREAMED, TALKING, question
from tests.fakes.texts import text
from tests.fakes.tokenizer import tokens
from tests.workers.calls.test_same_bill import ROWS, nothing, spoken, wire
from tests.workers.providers.anthropic.cases import job
from tests.workers.providers.test_families import ACCOUNT
from workers.calls.factors import Factors
from workers.calls.tries import HUNG_UP, Tries
from workers.providers import family

SIZE = (3360, 3680)
PICTURED = profiled("openai", "gpt-6.1-sol").pictures
PICTURE_TOKENS = 14_490
KINDS = ("english", "russian", "chinese", "python", "json indented", "digits", "base64", "log lines")
SAID = "In the morning the ferry leaves. " * 40


def seeing(row: Model) -> Model:
    """A row that takes pictures by a formula, at most a window."""
    able = msgspec.structs.replace(
        row.capabilities, images=True, image_tokens_max=36_000, pictures=PICTURED, audio_tokens_max=1_000
    )
    return msgspec.structs.replace(row, capabilities=able, context=400_000)


def admitted(dialect: str, row: Model, body: dict[str, Any]) -> Job:
    """The job of a streamed body, as the edge bounds it."""
    spoken_here = NAMED[dialect]
    fields = spoken_here.decode(json.dumps(body).encode())
    bound = spoken_here.bound(fields, spoken_here.read(fields), row)
    return job(
        {},
        dialect=dialect,
        stream=True,
        body=spoken_here.encode(fields),
        upstream=row.upstream,
        prompt_max=bound.prompt_max,
        text_bytes=bound.text_bytes,
        media_tokens=bound.media_tokens,
        limit=4_000,
    )


def left(way: str, of: Job, row: Model, said: str = SAID, factors: Factors | None = None) -> TokenUsage:
    """What is billed after some of an answer, of a provider that counts at the end alone."""
    (made,) = family(row.provider).open(of, row, {})
    made.request(ACCOUNT)
    answer = Answer(
        tuple(said[at : at + 40] for at in range(0, len(said), 40)), TokenUsage(input=1, output=1)
    )
    data = wire(spoken(way, of.dialect), answer, nothing, stream=True)
    for start in range(0, len(data), 64):
        made.feed(data[start : start + 64])
        if made.output_bytes >= len(said.encode()) // 2:
            break
    assert not made.finished
    tries = Tries(of, factors or Factors())
    tries.record(made, account_id="a", status=200, fault=HUNG_UP, exchanges=1, caller_left=True)
    assert tries.known is Known.ESTIMATED
    said_tokens = tokens(said.encode()[: made.output_bytes].decode(errors="ignore"))
    assert tries.usage.completion >= min(0.8 * said_tokens, of.limit)
    assert tries.usage.prompt <= of.prompt_max
    return tries.usage


def factor(row: Model) -> float:
    """How many tokens the row's own tokenizer is taken to make of one of OpenAI's."""
    return Factors().tokens("", row.upstream, weighed(of_text("word " * 1_000))) / 1_000


@pytest.mark.parametrize("way", ROWS)
@pytest.mark.parametrize("dialect", STREAMED)
def test_a_text_counts_as_what_it_is(dialect: str, way: str) -> None:
    """Of any kind of prompt at least 0.75 of its tokens, whatever it is written in, never more than its hold."""
    row = ROWS[way]
    for kind in KINDS:
        for size in (400, 30_000):
            words = text(kind, 5, size)
            of = admitted(dialect, row, question(dialect, "M", words, stream=True))
            truth = tokens(words) * factor(row)
            got = left(way, of, row).prompt
            assert 0.75 * truth <= got <= max(1.35 * truth + 20, 1), (kind, size)
            escaped = json.loads(of.body)  # the same in ASCII, as many clients send it
            body = msgspec.structs.replace(of, body=json.dumps(escaped).encode())
            assert left(way, body, row).prompt == pytest.approx(got, rel=0.15, abs=3)


def picture(dialect: str) -> dict[str, Any]:
    """A picture as a part of a turn."""
    data = base64.b64encode(png(SIZE) + b"\0" * 200_000).decode()
    if dialect == CHAT:
        return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}}
    if dialect == RESPONSES:
        return {"type": "input_image", "image_url": "data:image/png;base64," + data}
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}


def asked(dialect: str, words: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """A question with more than words."""
    body = question(dialect, "M", "", stream=True)
    said = {"type": "input_text" if dialect == RESPONSES else "text", "text": words}
    body["input" if dialect == RESPONSES else "messages"] = [{"role": "user", "content": [said, *parts]}]
    return body


@pytest.mark.parametrize("way", ROWS)
@pytest.mark.parametrize("dialect", TALKING)
def test_a_picture_counts_by_its_formula(dialect: str, way: str) -> None:
    """Its base64 is no text: its tokens are in the estimate, those of the words beside it too."""
    row = seeing(ROWS[way])
    words = text("digits", 2, 12_000)
    of = admitted(dialect, row, asked(dialect, words, picture(dialect), picture(dialect)))
    assert of.media_tokens == 2 * PICTURE_TOKENS
    got = left(way, of, row).prompt - 2 * PICTURE_TOKENS
    assert 0.8 <= got / (tokens(words) * factor(row)) <= 1.3


def test_text_under_a_mediums_name_is_text() -> None:
    """Arguments of a call are text whatever their names are: beside a picture they count as dense as they may be."""
    row, words = seeing(ROWS["anthropic"]), text("digits", 3, 20_000)
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {"data": words, "url": words}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": [picture(MESSAGES)]}
    body = asked(MESSAGES, "See.")
    body["messages"] += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    of = admitted(MESSAGES, row, body)
    assert left("anthropic", of, row).prompt >= PICTURE_TOKENS + 2 * tokens(words)


def test_everything_of_a_prompt_counts() -> None:
    """Instructions, earlier turns, tools and schemas, wherever a dialect has them."""
    words = text("german", 4, 4_000)
    tool = {"type": "function", "function": {"name": "f", "description": words, "parameters": {}}}
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": words}}}
    chat = question(CHAT, "M", words, stream=True) | {"tools": [tool], "response_format": schema}
    chat["messages"] = [
        {"role": "system", "content": words},
        {"role": "user", "content": words},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": words})}}]},
        {"role": "tool", "tool_call_id": "c", "content": words},
    ]  # fmt: skip
    row = ROWS["openai"]
    assert left("openai", admitted(CHAT, row, chat), row).prompt >= 0.9 * 6 * tokens(words)
    messages = question(MESSAGES, "M", words, stream=True) | {
        "system": [{"type": "text", "text": words}],
        "tools": [{"name": "f", "description": words, "input_schema": {"type": "object"}}],
    }
    row = ROWS["anthropic"]
    assert left("anthropic", admitted(MESSAGES, row, messages), row).prompt >= 0.9 * 3 * tokens(words)
    responses = question(RESPONSES, "M", words, stream=True) | {"instructions": words}
    row = ROWS["native"]
    assert left("native", admitted(RESPONSES, row, responses), row).prompt >= 0.9 * 2 * tokens(words)


@pytest.mark.parametrize("kind", KINDS)
def test_output_counts_as_what_it_is(kind: str) -> None:
    """Dense or not, short or long: the first half of an answer is 0.8 to 1.3 of its tokens."""
    row = ROWS["openai"]
    for size in (200, 60_000):
        said = text(kind, 6, size)
        of = admitted(CHAT, row, question(CHAT, "M", "hi", stream=True))
        of = msgspec.structs.replace(of, limit=100_000)
        got = left("openai", of, row, said).completion
        half = tokens(said.encode()[: len(said.encode()) // 2].decode(errors="ignore"))
        assert 0.8 * half <= got <= 1.3 * half + 20, (kind, size)


def test_prompts_of_token_ids_count_one_by_one() -> None:
    """A prompt of numbers is so many tokens, and no text of digits."""
    row = ROWS["openai"]
    body = question(COMPLETIONS, "M", "", stream=True) | {"prompt": [[5, 123_456, 7]]}
    assert text_tokens(admitted(COMPLETIONS, row, body)) == 3


def test_a_keys_own_factor_counts_for_who_leaves() -> None:
    """After twenty calls of a kind, the estimate is what the provider would have said, within 5 %."""
    row, factors = ROWS["openai"], Factors()
    for seed in range(20):
        words = text("russian", seed, 2_000)
        factors.learn("", row.upstream, weighed(of_text(words)), 2 * tokens(words) * 3 // 5)
    words = text("russian", 30, 8_000)
    of = admitted(CHAT, row, question(CHAT, "M", words, stream=True))
    assert left("openai", of, row, factors=factors).prompt == pytest.approx(1.2 * tokens(words), rel=0.05)


def test_a_recording_counts_too() -> None:
    """What is heard is in the estimate, beside the words."""
    able = profiled("gemini", "gemini-2.5-flash")
    row = msgspec.structs.replace(ROWS["gemini"], capabilities=able)
    sound = {"data": base64.b64encode(wav(30)).decode(), "format": "wav"}
    of = admitted(CHAT, row, asked(CHAT, "What is it?", {"type": "input_audio", "input_audio": sound}))
    assert of.media_tokens >= 30 * 32
    assert of.media_tokens < left("gemini", of, row).prompt <= of.media_tokens + 40
    pictured = admitted(
        CHAT, row, asked(CHAT, "a", {"type": "image_url", "image_url": {"url": data_url(png(SIZE))}})
    )
    assert left("gemini", pictured, row).prompt >= pictured.media_tokens > 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_text_counts_as_its_text(kind: str) -> None:
    """Inside its base64 it is as dense as any prompt."""
    words = text(kind, 8, 30_000)
    data = "data:text/plain;base64," + base64.b64encode(words.encode()).decode()
    able = msgspec.structs.replace(
        ROWS["gemini"].capabilities, file_tokens_max=900_000, file_types=("text/plain",)
    )
    row = msgspec.structs.replace(ROWS["gemini"], capabilities=able, context=1_000_000)
    part = {"type": "file", "file": {"filename": "a.txt", "file_data": data}}
    of = admitted(CHAT, row, asked(CHAT, "Read.", part))
    assert 0.75 <= left("gemini", of, row).prompt / (tokens(words) * factor(row)) <= 1.3


def test_a_document_of_plain_text_is_text() -> None:
    """A source of text stands under the name of a picture's data, and is no picture."""
    row, words = seeing(ROWS["anthropic"]), text("english", 9, 30_000)
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": words}}
    of = admitted(MESSAGES, row, asked(MESSAGES, "Read.", document, picture(MESSAGES)))
    got = left("anthropic", of, row).prompt - PICTURE_TOKENS
    assert 0.8 <= got / (tokens(words) * factor(row)) <= 1.3


def ended(of: Job, row: Model, reported: int, factors: Factors, *, known: bool = True) -> None:
    """A call that goes well, and what its worker learns of it."""
    (made,) = family(row.provider).open(of, row, {})
    made.request(ACCOUNT)
    answer = Answer(("Hello.",), TokenUsage(input=reported, output=2))
    edit = (lambda usage: usage) if known else nothing
    made.feed(wire(spoken("openai", of.dialect), answer, edit, stream=True))
    made.close()
    tries = Tries(of, factors)
    tries.record(made, account_id="a", status=200, fault=made.fault, exchanges=1, caller_left=False)
    assert tries.known is (Known.REPORTED if known else Known.ESTIMATED)
    tries.learn(0.0)


@pytest.mark.parametrize("dialect", STREAMED)
def test_what_a_provider_reports_corrects_who_leaves_later(dialect: str) -> None:
    """Completed calls of a key teach its worker, in any dialect; those with media, or without a count, do not."""
    row, factors = ROWS["openai"], Factors(now=0.0)
    for seed in range(20):
        words = text("python", seed, 2_000)
        body = question(dialect, "M", words, stream=True)
        ended(admitted(dialect, row, body), row, tokens(words) * 6 // 5, factors)
        ended(admitted(dialect, row, body), row, 1, factors, known=False)
        of = msgspec.structs.replace(admitted(dialect, row, body), media_tokens=5)
        ended(of, row, 10 * tokens(words), factors)
    words = text("python", 30, 8_000)
    of = admitted(dialect, row, question(dialect, "M", words, stream=True))
    assert left("openai", of, row, factors=factors).prompt == pytest.approx(1.2 * tokens(words), rel=0.08)
    other = msgspec.structs.replace(of, scope="another key")
    assert left("openai", other, row, factors=factors).prompt == left("openai", other, row).prompt
