"""Upstreams that report more tokens than a call was granted: our estimate is billed and shown, and the account is noted."""

import re
import time
from typing import Any

import pytest
from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import AccountState, Job
from schemas.bus.usage import Known
from schemas.money.pricing import NO_USAGE, TokenUsage
from tests.fakes.worker import job
from tests.workers.calls.test_same_bill import (
    STREAMED,
    TEXT,
    counted_up,
    every_way,
    opened,
    same,
    spoken,
    wire,
)
from workers.answers.beliefs import OVER_TOKENS_MAX, believable, is_beyond
from workers.calls.accounts import MISREPORTED_COOL_S, MISREPORTS_BEFORE_COOLING, Account
from workers.calls.tries import HUNG_UP, Tries

MOST = 10**9
HONEST = TokenUsage(input=9, output=7)
LIES = {
    "prompt": TokenUsage(input=MOST - 1, output=7),
    "output": TokenUsage(input=9, output=MOST - 1),
    "both": TokenUsage(input=MOST - 1, output=MOST - 1),
    "cached": TokenUsage(input=9, cached=MOST - 9, output=7),
    "reasoning": TokenUsage(input=9, output=7, reasoning=MOST - 7),
}
every_lie = pytest.mark.parametrize("usage", LIES.values(), ids=LIES)


@every_way
@every_lie
def test_a_lie_is_neither_billed_nor_shown(way: str, usage: TokenUsage) -> None:
    """In every dialect, plain and streamed: what can be stays as reported, the rest is our estimate, marked as such."""
    lying = structs.replace(TEXT, usage=usage)
    for dialect in STREAMED:
        for stream in (False, True):
            made, of = opened(way, dialect, lying, stream=stream)
            data = wire(spoken(way, dialect), lying, same, stream=stream)
            out = made.feed(data) + made.close() if stream else made.answer(data)
            assert made.fault is None
            assert not re.search(rb'tokens":\s*\d{6}', out), (dialect, stream, out)
            billed, known, _, _ = counted_up(made, of)
            assert known is Known.ESTIMATED, (dialect, stream)
            assert 0 < billed.prompt <= of.text_bytes, (dialect, stream)
            assert 0 < billed.completion <= 100, (dialect, stream)
            if usage.completion == HONEST.completion:
                assert billed.completion == HONEST.completion
            if usage.prompt == HONEST.prompt:
                assert billed.prompt == HONEST.prompt


@every_way
def test_negative_figures_are_never_shown(way: str) -> None:
    """A negative figure anywhere in a usage object reaches no caller, and no bill."""

    def negative(event: dict[str, Any]) -> dict[str, Any]:
        return {name: _negated(name, value) for name, value in event.items()}

    for dialect in STREAMED:
        for stream in (False, True):
            made, of = opened(way, dialect, TEXT, stream=stream)
            data = wire(spoken(way, dialect), TEXT, negative, stream=stream)
            out = made.feed(data) + made.close() if stream else made.answer(data)
            assert not re.search(rb":\s*-\d", out), (dialect, stream, out)
            if made.fault is None:
                billed, known, _, _ = counted_up(made, of)
                assert known is Known.ESTIMATED, (dialect, stream)
                assert billed.prompt >= 0
                assert billed.completion > 0


def _negated(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _negated(inner, one) for inner, one in value.items()}
    counts = isinstance(value, int) and not isinstance(value, bool)
    return -5 if counts and name.lower().endswith(("tokens", "tokencount")) else value


class Hearsay:
    """An exchange that was cut off after its provider had said something of its usage."""

    fault = None
    finished = False
    uplifts = ()
    output_bytes = 40

    def __init__(self, usage: TokenUsage) -> None:
        self.usage = usage


def hung_up(usage: TokenUsage, **fields: Any) -> Tries:
    """The tries of a call whose caller has left."""
    tries = Tries(job({}, prompt_max=100, limit=50, **fields))
    tries.record(Hearsay(usage), account_id="a", status=200, fault=HUNG_UP, exchanges=1, caller_left=True)  # type: ignore[arg-type]  # what is read of it
    return tries


@every_lie
def test_a_lie_told_before_a_hang_up_is_not_billed_either(usage: TokenUsage) -> None:
    """It counts no more than one told at the end."""
    tries = hung_up(usage)
    assert tries.misreported
    assert tries.usage.prompt <= 100
    assert tries.usage.completion <= 50


def test_what_was_granted_is_no_lie() -> None:
    """The bounds themselves are believed, and a few tokens more of output, as servers count ends differently."""
    of = job({}, prompt_max=100, limit=50, choices=2)
    for usage in (TokenUsage(input=100, output=100), TokenUsage(input=1, output=100 + OVER_TOKENS_MAX)):
        assert not is_beyond(of, usage)
        assert believable(of, usage, 0) == usage
    assert is_beyond(of, TokenUsage(input=101, output=1))
    assert is_beyond(of, TokenUsage(input=1, output=101 + OVER_TOKENS_MAX))
    assert is_beyond(of, TokenUsage(input=1, output=60 + OVER_TOKENS_MAX), exchanges=2)


def test_media_may_count_more_than_their_formula() -> None:
    """The bound of a picture is ours: its prompt is billed as reported, up to the hold, and nobody is blamed."""
    tries = hung_up(TokenUsage(input=500, output=7), media_tokens=85)
    assert not tries.misreported
    assert tries.usage.prompt == 500


def account() -> Account:
    return Account(AccountSettings(id="a", api_key="k"))


def called(scope: str) -> Job:
    return job({}, scope=scope)


def test_three_lies_cool_an_account() -> None:
    """The key that met them stays away first; once a second key has met three, all do, for a while. Each is counted."""
    made, now = account(), time.monotonic()
    for told in range(1, MISREPORTS_BEFORE_COOLING):
        made.misreported(called("one"), now)
        assert made.admits("up-m", "one", now)
        assert made.beat(now).misreported == told
    made.misreported(called("one"), now)
    assert not made.admits("up-m", "one", now)
    assert made.admits("up-m", "two", now)
    for _ in range(MISREPORTS_BEFORE_COOLING):
        made.misreported(called("two"), now)
    assert not made.admits("up-m", "three", now)
    beat = made.beat(now)
    assert (beat.state, beat.misreported) == (AccountState.COOLING, 2 * MISREPORTS_BEFORE_COOLING)
    assert "more tokens" in beat.reason
    assert made.admits("up-m", "one", now + MISREPORTED_COOL_S + 1)


def test_nothing_said_is_no_lie() -> None:
    """An answer without usage is estimated, and nobody is blamed."""
    of = job({}, prompt_max=100, limit=50)
    assert believable(of, None, 40).completion == 10
    assert not is_beyond(of, NO_USAGE)
