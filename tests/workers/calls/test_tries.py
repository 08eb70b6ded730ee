"""What an attempt's tries say of what served them."""

import json
from typing import Any

import pytest

from runtime.settings.settings import AccountSettings
from schemas.bus.usage import Known
from schemas.catalogue.builtin import BUILTIN
from tests.workers.providers.anthropic.cases import job
from tests.workers.providers.gemini import cases as gemini
from workers.calls.factors import Factors
from workers.calls.tries import HUNG_UP, Tries
from workers.providers.base import Exchange
from workers.providers.gemini.family import Gemini
from workers.providers.openai.family import OpenAI

GPT = next(model for model in BUILTIN if model.id == "gpt-4o")
OF = job({"stream": True, "service_tier": "priority"})
TEXT = {"id": "x", "choices": [{"index": 0, "delta": {"content": "Hey"}, "finish_reason": None}]}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
LAST = {"id": "x", "choices": [], "usage": USAGE, "service_tier": "default"}


def ended(made: Exchange, *chunks: dict[str, Any], done: bool = False) -> Tries:
    """The tries of a call whose caller leaves after these chunks, or stays to the end."""
    made.request(AccountSettings(id="a", api_key="k"))
    made.feed(b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks))
    if done:
        made.feed(b"data: [DONE]\n\n")
    tries = Tries(OF, Factors())
    fault = None if done else HUNG_UP
    tries.record(made, account_id="a", status=200, fault=fault, exchanges=1, caller_left=not done)
    return tries


@pytest.mark.parametrize(
    ("chunks", "done", "unsaid"),
    [((), False, True), ((TEXT,), False, True), ((TEXT, LAST), False, False), ((TEXT, LAST), True, False)],
)
def test_a_tier_is_unsaid_until_usage_has_come(
    chunks: tuple[dict[str, Any], ...], done: bool, unsaid: bool
) -> None:
    """OpenAI says with usage what served: a call that breaks off before that says so of itself."""
    tries = ended(OpenAI().open(OF, GPT, {})[0], *chunks, done=done)
    assert tries.tier_unsaid is unsaid
    assert tries.known is (Known.REPORTED if done else Known.ESTIMATED)


def test_who_reads_it_in_the_head_needs_no_guess() -> None:
    """Gemini's exchange starts out from the tier that was asked for, and its head says another."""
    (made,) = Gemini().open(OF, gemini.model("gemini-2.5-pro"), {})
    assert not ended(made).tier_unsaid
