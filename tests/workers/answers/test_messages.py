"""What answers look like in Anthropic's dialect: known transcripts byte for byte, and what no transcript has."""

import json
from pathlib import Path

import pytest

from schemas.dialects.blobs import Blob, unseal
from schemas.dialects.messages.names import told_name
from schemas.money.pricing import TokenUsage
from tests.workers.providers.anthropic.cases import job
from workers.answers import answers

FIXTURES = Path(__file__).parents[2] / "fixtures" / "messages"
PLAIN = TokenUsage(input=10, output=2)
BLOB = Blob("gemini", "g", "call", "proof")
THINKING = {"thinking": {"type": "adaptive"}}


def made(body=None, **more):
    """An answer of a job whose ids are those of the transcripts."""
    fields = {"dialect": "messages", "stream": True, "request_id": "req_1", "model": "M", "scope": "s"}
    (answer,) = answers(job(body or {}, **fields | more))
    return answer


def text(answer):
    """A text in two pieces."""
    out = answer.open(0) + answer.text(0, "") + answer.text(0, "Hel") + answer.text(0, "lo")
    usage = TokenUsage(input=10, cached=100, cache_write=5, output=2)
    return out + answer.finish(0, "stop") + answer.end(usage)


def two_calls(answer):
    """Two calls after a text, the second without arguments."""
    out = answer.open(0) + answer.text(0, "Looking.")
    out += answer.tool(0, "toolu_a", "f") + answer.arguments(0, '{"a"') + answer.arguments(0, ":1}")
    out += answer.tool(0, "toolu_b", "g")
    return out + answer.finish(0, "stop") + answer.end(TokenUsage(input=10, output=31))


def length(answer):
    """A text that was cut by its limit."""
    out = answer.text(0, "Once upon")
    return out + answer.finish(0, "length") + answer.end(TokenUsage(input=10, output=16))


def unsigned(answer):
    """Reasoning that nobody signed, then a text."""
    out = answer.reasoning(0, "Unsigned.") + answer.text(0, "7")
    return out + answer.finish(0, "stop") + answer.end(TokenUsage(input=10, output=9))


def thinking(answer):
    """Signed reasoning, then a text."""
    out = answer.reasoning(0, "Think") + answer.reasoning(0, "ing.") + answer.signature(0, BLOB)
    out += answer.text(0, "42") + answer.finish(0, "stop")
    return out + answer.end(TokenUsage(input=10, output=12, reasoning=148))


CASES = {
    "m1-text": text,
    "m2-two-calls": two_calls,
    "m3-thinking": thinking,
    "m4-length": length,
    "m6-unsigned": unsigned,
}


def opening(known):
    """The usage that a transcript begins with: its upstream told it at once, and a translated one is an estimate."""
    return json.loads(known.split(b"\n")[1][6:])["message"]["usage"]


def sealed(raw):
    """The same bytes with the one blob in them as the transcripts have it."""
    for line in raw.replace(b'"', b"\n").split(b"\n"):
        if line.startswith(b"tokn1."):
            assert unseal("s", line.decode()) == BLOB
            raw = raw.replace(line, b"c2ln")
    return raw


@pytest.mark.parametrize("name", CASES)
def test_streams_are_the_known_transcripts(name):
    """Byte for byte, but for the input tokens of the opening, and what a blob holds."""
    known = (FIXTURES / f"{name}.sse").read_bytes()
    told = sealed(CASES[name](made(THINKING)))
    first, _, rest = told.partition(b"\n\n")
    known_first, _, known_rest = known.partition(b"\n\n")
    assert rest == known_rest
    message = json.loads(first.split(b"\n")[1][6:])["message"]
    message["usage"] = opening(known)
    assert first.split(b"\n")[0] == b"event: message_start"
    assert message == json.loads(known_first.split(b"\n")[1][6:])["message"]


@pytest.mark.parametrize("name", CASES)
def test_plain_answers_are_the_known_messages(name):
    """The same calls give the message that the stream adds up to."""
    known = json.loads((FIXTURES / f"{name}.json").read_bytes())
    told = json.loads(sealed(CASES[name](made(THINKING, stream=False))))
    assert told == known
    assert list(told) == list(known)


def test_reasoning_is_shown_to_callers_who_asked_for_it():
    """Without thinking neither text nor proof is told; with its text left out the proof alone; both count all the same."""
    for asked, shows, proves in (
        ({}, False, False),
        ({"thinking": {"type": "disabled"}}, False, False),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, False, True),
        (THINKING, True, True),
    ):
        answer = made(asked)
        told = thinking(answer)
        assert (b"Think" in told, b"tokn1." in told) == (shows, proves)
        assert b'"thinking_tokens":148' in told
        assert answer.output_bytes == len("Thinking.42")


def test_a_proof_without_reasoning_is_a_block_of_its_own():
    """The provider signs a call whose reasoning it does not show: a block that clients carry and cannot read."""
    answer = made(THINKING, stream=False)
    answer.text(0, "Hm.")
    answer.signature(0, BLOB)
    answer.tool(0, "c", "f")
    answer.arguments(0, "{}")
    answer.finish(0, "stop")
    kinds = [block["type"] for block in json.loads(answer.end(PLAIN))["content"]]
    assert kinds == ["text", "redacted_thinking", "tool_use"]


def test_nothing_is_sealed_for_nobody():
    """A job without a scope is of a ledger that has none: its proofs could be opened by every key."""
    assert b"tokn1." not in thinking(made(THINKING, scope=""))


def test_blocks_stand_one_after_the_other():
    """Whatever order events come in: each block ends before the next begins, and indexes have no gaps."""
    answer = made(THINKING)
    told = answer.text(0, "a") + answer.tool(0, "1", "f") + answer.text(0, "b") + answer.reasoning(0, "c")
    told += (
        answer.tool(0, "2", "g") + answer.arguments(0, "{}") + answer.text(0, "d") + answer.finish(0, "stop")
    )
    open_block, newest = None, -1
    for line in told.decode().split("\n"):
        event = json.loads(line[6:]) if line.startswith("data: ") else {}
        match event.get("type"):
            case "content_block_start":
                assert open_block is None
                newest += 1
                open_block = event["index"]
                assert open_block == newest
            case "content_block_delta":
                assert event["index"] == open_block
            case "content_block_stop":
                assert event["index"] == open_block
                open_block = None
    assert open_block is None
    assert newest == 5


def test_a_cut_call_is_not_run():
    """Of a plain answer that its limit cut inside a call, the call is left out: an empty input would run its tool."""
    answer = made(stream=False)
    answer.tool(0, "c", "f")
    answer.arguments(0, '{"path": "/tm')
    answer.finish(0, "length")
    message = json.loads(answer.end(PLAIN))
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")


@pytest.mark.parametrize(
    ("tell", "reason"),
    [
        (lambda answer: answer.finish(0, "tool_calls"), "end_turn"),
        (lambda answer: answer.text(0, "x") + answer.finish(0, "content_filter"), "refusal"),
        (lambda answer: answer.refusal(0, "no") + answer.finish(0, "stop"), "refusal"),
        (lambda answer: answer.tool(0, "c", "f") + answer.finish(0, "stop"), "tool_use"),
    ],
)
def test_why_a_message_ends(tell, reason):
    """Calls without their reason, a reason without its calls, filters and refusals; streamed and plain."""
    streamed, plain = made(), made(stream=False)
    told = tell(streamed) + streamed.end(PLAIN)
    tell(plain)
    message = json.loads(plain.end(PLAIN))
    assert message["stop_reason"] == reason
    assert f'"stop_reason":"{reason}"'.encode() in told
    assert (message["stop_details"] is None) is (reason != "refusal")


def test_names_come_back_as_the_caller_wrote_them():
    """A name that another provider does not take is told in another way, and answered in the caller's."""
    for name in ("1st", "a.b", "n" * 100):
        assert told_name(name) != name
        answer = made({"tools": [{"name": name}]}, stream=False)
        answer.tool(0, "c", told_name(name))
        answer.finish(0, "stop")
        assert json.loads(answer.end(PLAIN))["content"][0]["name"] == name
    assert told_name("n" * 100) != told_name("n" * 101)


def test_half_a_character_in_a_call_costs_no_more() -> None:
    """Its tool is called all the same, with the replacement in its place."""
    answer = made(stream=False)
    answer.tool(0, "toolu_a", "f")
    answer.arguments(0, '{"a":"x\\ud83d"}')
    answer.finish(0, "stop")
    assert json.loads(answer.end(None))["content"][0]["input"] == {"a": "x\ufffd"}
