"""What a worker says of a candidate that cannot serve: that it gives way, and what it has used, or that the call is over."""

from typing import Any

import pytest

from runtime.settings.settings import PoolSettings
from schemas.bus.frames import Job
from schemas.bus.usage import Outcome
from schemas.errors import (
    bad_key,
    gives_way,
    insufficient_balance,
    internal,
    invalid,
    model_not_found,
    overloaded,
    provider_denied,
    saturated,
    too_large,
    unavailable,
    unsupported_value,
    upstream_auth,
    upstream_failed,
    upstream_timeout,
)
from schemas.money.pricing import NO_USAGE
from tests.fakes.estimated import prompt_tokens
from tests.fakes.openai import FakeOpenAI, Reply, chunk, error, event
from tests.fakes.worker import account, job, model, rig

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
BEFORE = Reply(pieces=[], cut=True)
AFTER = Reply(pieces=[event(chunk({"content": "four"}))], cut=True)


@pytest.mark.parametrize(
    "told",
    [
        internal(),
        upstream_failed(),
        upstream_auth(),
        upstream_timeout(),
        overloaded(),
        unavailable("No account."),
        saturated("Limited."),
        model_not_found("m"),
        too_large(7),
        invalid("Too many tokens.", param="messages", code="context_length_exceeded"),
        invalid("This model's maximum context length is 8192 tokens, and you asked for 9000.", code="400"),
        invalid("The input exceeds the context window of this model."),
    ],
)
def test_what_another_model_may_serve(told: Any) -> None:
    """A provider that fails, refuses us or is full, a model that is gone, and a prompt that is too long for it."""
    assert gives_way(told)


@pytest.mark.parametrize(
    "told",
    [
        invalid("No.", param="messages"),
        invalid("Flagged.", code="content_policy_violation"),
        unsupported_value("n", "No."),
        bad_key(),
        provider_denied("m"),
        insufficient_balance("Short."),
    ],
)
def test_what_is_the_callers_own(told: Any) -> None:
    """A body or a content that is refused, and what the gateway refuses the caller: no other model is asked."""
    assert not gives_way(told)


async def test_only_one_that_is_not_the_last_gives_way() -> None:
    """A job says whether it is the last; of one that is not, a failure before the first byte leaves the hold open."""
    cases: list[tuple[Reply, dict[str, Any], bool]] = [
        (error(500, "no"), {"candidate": 1, "last": False}, True),
        (error(500, "no"), {"candidate": 2, "last": True}, False),
        (error(500, "no"), {}, False),
        (error(400, "no"), {"candidate": 1, "last": False}, False),
        (BEFORE, {"candidate": 1, "last": False}, True),
        (AFTER, {"candidate": 1, "last": False}, False),
    ]
    async with (
        FakeOpenAI(lambda received: cases[int(received.json["model"])][0]) as fake,
        rig(tuple(_pool(number, fake.base_url) for number in range(len(cases))), _models(len(cases))) as made,
    ):
        for number, (reply, fields, passes) in enumerate(cases):
            call: Job = job(
                BODY | {"stream": True}, model=f"m{number}", upstream=str(number), text_bytes=40, **fields
            )
            answered = await made.edge.call(call, f"pool{number}")
            bill = await made.ledger.event(call)
            assert answered.failed.gives_way is bill.gives_way is passes, number
            assert (bill.outcome, bill.candidate) == (Outcome.FAILED, fields.get("candidate", 0))
            if reply is BEFORE:  # the provider may bill what it has read: our cost, and not the caller's
                assert bill.usage == NO_USAGE
                assert bill.tries[-1].usage.input == prompt_tokens(call)
            if reply is AFTER:
                assert bill.usage.input == prompt_tokens(call)


def _pool(number: int, base_url: str) -> PoolSettings:
    # A pool of its own for each: a failure must not cool another's account.
    return PoolSettings(name=f"pool{number}", provider="openai", accounts=(account(base_url),))


def _models(count: int) -> tuple[Any, ...]:
    return tuple(model(f"m{number}", f"pool{number}", upstream=str(number)) for number in range(count))
