"""What a key at its limit is told, by which words, and for how long an edge says so by itself."""

from types import SimpleNamespace
from typing import Any

import pytest

from edge.admission.full import REMEMBERED_MAX, Full, at_limit
from schemas.chat.priced import RequestError
from schemas.dialects.rates import anthropic_headers, openai_headers, span
from schemas.verbs.calls import Limited, Measure, Reason, Refusal, Room

ROOM = Room(60, 0, 60_500, 1000, 250, 1_200)


def _refusal(measure: Measure = Measure.REQUESTS, retry_ms: int = 5_000) -> Refusal:
    limited = Limited("key", measure, 60, 60, 1, retry_ms)
    return Refusal(Reason.LIMITED, key_id="key_1", limited=limited, room=ROOM)


def _exchange() -> Any:
    return SimpleNamespace(key_id="", room=None)


def test_an_edge_repeats_a_refusal_for_a_second() -> None:
    """The same key hears the same refusal with the time that is left, and is let through to the ledger after a second."""
    now = 100.0
    full = Full(lambda: now)
    full.check(_exchange(), b"k")
    full.learn(b"k", _refusal())
    now = 100.5
    exchange = _exchange()
    with pytest.raises(RequestError) as found:
        full.check(exchange, b"k")
    assert found.value.error.retry_after_s == 4.5
    assert (exchange.key_id, exchange.room) == ("key_1", ROOM)
    full.check(_exchange(), b"another")
    now = 101.0
    full.check(_exchange(), b"k")


def test_what_may_change_at_once_is_not_remembered() -> None:
    """A call of fewer tokens may fit, and a call in flight may end: an edge asks each time."""
    full = Full(lambda: 0.0)
    for measure in (Measure.TOKENS, Measure.IN_FLIGHT):
        full.learn(b"k", _refusal(measure))
        full.check(_exchange(), b"k")
    full.learn(b"k", _refusal(retry_ms=0))
    full.check(_exchange(), b"k")


def test_so_many_keys_are_remembered() -> None:
    """One key more than the bound takes the place of the one told longest ago."""
    full = Full(lambda: 0.0)
    for number in range(REMEMBERED_MAX + 1):
        full.learn(b"%d" % number, _refusal())
    full.check(_exchange(), b"0")
    with pytest.raises(RequestError):
        full.check(_exchange(), b"1")


@pytest.mark.parametrize(
    ("limited", "kind", "words"),
    [
        (
            Limited("key", Measure.REQUESTS, 60, 60, 1, 1200),
            "requests",
            "Rate limit reached for key key_1 on requests per min (RPM): Limit 60, Used 60, Requested 1. Please try",
        ),
        (
            Limited("org", Measure.TOKENS, 900, 800, 200, 61_000),
            "tokens",
            "the organisation of key key_1 on tokens",
        ),
        (Limited("key", Measure.IN_FLIGHT, 2, 2, 1, 1000), "requests", "on calls in flight: Limit 2, Used 2"),
    ],
)
def test_the_words_of_a_refusal(limited: Limited, kind: str, words: str) -> None:
    """The message names whose limit it is, the measure, the figures and the wait; its type says what is counted."""
    error = at_limit(limited, "key_1")
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", kind)
    assert words in error.message
    assert error.retry_after_s == limited.retry_ms / 1000
    assert error.should_retry is None


def test_a_call_that_is_too_large_by_itself() -> None:
    """No wait helps, so none is named, and clients are told not to try again."""
    error = at_limit(Limited("key", Measure.TOKENS, 100, 0, 101, -1), "key_1")
    assert error.message.startswith(
        "Request too large for key key_1 on tokens per min (TPM): Limit 100, Used 0,"
    )
    assert (error.retry_after_s, error.should_retry) == (None, False)


@pytest.mark.parametrize(
    ("ms", "written"),
    [(0, "0ms"), (12, "12ms"), (1200, "1.2s"), (59_999, "59.999s"), (360_000, "6m0s"), (61_500, "1m1.5s")],
)
def test_spans(ms: int, written: str) -> None:
    """Times are written as OpenAI writes them."""
    assert span(ms) == written


def test_headers_of_both_protocols() -> None:
    """Each measure that is limited has its limit, what is left, and when nothing of the minute counts any more."""
    assert dict(openai_headers(ROOM)) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"0",
        b"x-ratelimit-reset-requests": b"1m0.5s",
        b"x-ratelimit-limit-tokens": b"1000",
        b"x-ratelimit-remaining-tokens": b"250",
        b"x-ratelimit-reset-tokens": b"1.2s",
    }
    assert dict(anthropic_headers(Room(60, 59, 60_000, 0, 0, 0), 1_795_000_000.0)) == {
        b"anthropic-ratelimit-requests-limit": b"60",
        b"anthropic-ratelimit-requests-remaining": b"59",
        b"anthropic-ratelimit-requests-reset": b"2026-11-18T11:07:40Z",
    }
