"""How a Gemini answer ends: finish reasons, failures, nonsense, and what else it says of itself."""

import json

import pytest
from openai.types.chat import ChatCompletion

from tests.workers.providers.gemini.cases import (
    ACCOUNT,
    NEW,
    deltas,
    exchange,
    fixture,
    job,
    model,
    play,
    said,
    stream_job,
    wire,
)
from workers.providers.base import Action

TEXT = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "index": 0}]}
STOP = {"candidates": [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]}


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("SOMETHING_NEW", "tool_calls"),
        ("OTHER", "tool_calls"),
        ("SAFETY", "content_filter"),
        ("MAX_TOKENS", "length"),
    ],
)
def test_a_reason_that_nobody_knows_behind_calls(reason, finish):
    """Calls come whole: only a filter's own word, or a limit, says that they are not to be made."""
    call = {"content": {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}, "index": 0}
    made = exchange(stream_job())
    events = [{"candidates": [call]}, {"candidates": [{"finishReason": reason, "index": 0}]}]
    assert deltas(play(made, wire(events)))["reasons"] == [finish]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        *(
            (name, "content_filter")
            for name in [
                "SAFETY",
                "RECITATION",
                "LANGUAGE",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "IMAGE_SAFETY",
                "IMAGE_PROHIBITED_CONTENT",
                "IMAGE_RECITATION",
                "IMAGE_OTHER",
                "NO_IMAGE",
                "MODEL_ARMOR",
                "ESCALATION",
                "OTHER",
                "SOMETHING_NEW",
            ]
        ),
    ],
)
def test_finish_reasons(reason, finish):
    """Each finish reason has its word at OpenAI."""
    made = exchange(stream_job())
    assert deltas(play(made, wire([said("x", finishReason=reason)])))["reasons"] == [finish]
    assert made.fault is None


@pytest.mark.parametrize(
    ("reason", "action", "status"),
    [
        ("MALFORMED_FUNCTION_CALL", Action.NEXT, 502),
        ("UNEXPECTED_TOOL_CALL", Action.NEXT, 502),
        ("MALFORMED_RESPONSE", Action.NEXT, 502),
        ("TOO_MANY_TOOL_CALLS", Action.NEXT, 502),
        ("MISSING_THOUGHT_SIGNATURE", Action.STOP, 502),
        ("PUP_LIMITED_DISABLED", Action.REFUSED, 502),
    ],
)
def test_finish_reasons_that_are_failures(reason, action, status):
    """A reason that means that the model or the account failed is a fault, never a stop, plain or streamed."""
    streamed, plain = exchange(stream_job()), exchange(job({}))
    play(streamed, wire([said("x"), said("", finishReason=reason)]))
    assert plain.answer(json.dumps(said("x", finishReason=reason)).encode()) == b""
    for made in (streamed, plain):
        assert made.fault is not None
        assert (made.fault.action, made.fault.error.status) == (action, status)
        assert not made.finished


@pytest.mark.parametrize("event", ["{", "nonsense", "[]", "3", '{"candidates":3}', "\\udcff"])
def test_nonsense_is_a_fault(event):
    """An event or a body that is not what the API sends is a fault, and what came before it stays."""
    made = exchange(stream_job())
    assert deltas(play(made, wire([TEXT, event])))["content"] == "Hi"
    assert made.fault is not None
    plain = exchange(job({}))
    assert plain.answer(event.encode()) == b""
    assert plain.fault is not None


def test_invalid_utf8_is_a_fault():
    """Bytes that are no text are a fault, not an exception."""
    made = exchange(stream_job())
    play(made, wire([b'{"candidates":[{"content":{"parts":[{"text":"\xff"}]}}]}']))
    assert made.fault is not None


def test_logprobs():
    """Log probabilities keep token, bytes and as many alternatives as were asked for."""
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.5, "tokenId": 1}, {"token": "!"}],
        "topCandidates": [
            {"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "e", "logProbability": -1.5}]}
        ],
    }
    answer = said("é!", finishReason="STOP", logprobsResult=result)
    made = exchange(job({"logprobs": True, "top_logprobs": 1}), model(logprobs=True))
    (choice,) = ChatCompletion.model_validate_json(made.answer(json.dumps(answer).encode())).choices
    first, second = choice.logprobs.content
    assert (first.token, first.logprob, first.bytes) == ("é", -0.5, [195, 169])
    assert [top.token for top in first.top_logprobs] == ["é"]
    assert (second.token, second.logprob, second.top_logprobs) == ("!", 0.0, [])


@pytest.mark.parametrize(
    ("asked", "version", "uplifts"),
    [
        ("gemini-2.5-flash", "gemini-2.5-flash", ()),
        ("gemini-1.5-pro-latest", "gemini-1.5-pro-002", ()),
        ("gemini-2.5-flash", "models/gemini-2.5-flash-preview-05-20", ()),
        ("gemini-2.5-flash", "gemini-3.8-flash", ("model:gemini-3.8-flash",)),
    ],
)
def test_another_model_than_asked_for_is_named(asked, version, uplifts):
    """A provider that routes a retired model to another one is caught by the version it reports."""
    made = exchange(stream_job(), model(asked))
    play(made, wire([said("x", finishReason="STOP") | {"modelVersion": version}]))
    assert made.uplifts == uplifts


def test_service_tier_that_served_is_an_uplift():
    """A tier that was asked for, or that the answer names, prices the call."""
    row = model(service_tiers=("flex", "priority"))
    asked = exchange(stream_job(service_tier="flex"), row)
    assert asked.uplifts == ("flex",)
    told = exchange(stream_job(), row)
    play(
        told,
        wire([said("x", finishReason="STOP") | {"usageMetadata": {"trafficType": "ON_DEMAND_PRIORITY"}}]),
    )
    assert told.uplifts == ("priority",)


def test_another_try_starts_from_nothing():
    """A request for the next account forgets what the last answer said."""
    made = exchange(stream_job())
    play(made, wire(fixture("e5.jsonl")))
    assert made.fault is not None
    again = exchange(stream_job())
    made.request(ACCOUNT)
    assert made.fault is None
    assert made.usage is None
    assert play(made, wire([TEXT, STOP])) == play(again, wire([TEXT, STOP]))
    assert NEW.upstream in made.request(ACCOUNT).url
