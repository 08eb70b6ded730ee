"""Whether a model reasons for a call, by its row and the caller's body in every dialect."""

import json
from typing import Any

import pytest
from msgspec import structs

from schemas.catalogue.anthropic import anthropic_capabilities
from schemas.catalogue.gemini import gemini_capabilities
from schemas.catalogue.model import Capabilities
from schemas.catalogue.openai import openai_capabilities
from tests.fakes.worker import model
from workers.calls.reasoning import reasons

ALWAYS = openai_capabilities("gpt-6.1-sol")
UNLESS_NONE = openai_capabilities("gpt-5.5")
IF_ASKED = openai_capabilities("gpt-5.1")
NEVER = openai_capabilities("gpt-4o")
CLAUDE = anthropic_capabilities("claude-opus-4-8")
CLAUDE_ALWAYS = anthropic_capabilities("claude-opus-5-5")
BETWEEN_TOOLS = anthropic_capabilities("claude-sonnet-5-5")
GEMINI_25 = gemini_capabilities("gemini-2.5-flash")
ELSEWHERE = structs.replace(openai_capabilities("some-model"), reasons=True)


@pytest.mark.parametrize(
    ("able", "family", "body", "expected"),
    [
        (NEVER, "openai", {}, False),
        (NEVER, "openai", {"reasoning_effort": "high"}, False),  # which it refuses
        (ALWAYS, "openai", {}, True),
        (ALWAYS, "openai", {"reasoning_effort": "none"}, True),  # it has no such effort
        (UNLESS_NONE, "openai", {}, True),
        (UNLESS_NONE, "openai", {"reasoning_effort": None}, True),
        (UNLESS_NONE, "openai", {"reasoning_effort": "none"}, False),
        (UNLESS_NONE, "openai", {"reasoning": {"effort": "none"}}, False),
        (UNLESS_NONE, "openai", {"thinking": {"type": "disabled"}}, False),
        (IF_ASKED, "openai", {}, False),
        (IF_ASKED, "openai", {"reasoning": {"summary": "auto"}}, False),
        (IF_ASKED, "openai", {"reasoning": {"effort": "low"}}, True),
        (IF_ASKED, "openai", {"reasoning_effort": "low"}, True),
        (IF_ASKED, "openai", {"output_config": {"effort": "max"}}, True),
        (CLAUDE, "anthropic", {}, False),
        (CLAUDE, "anthropic", {"reasoning_effort": "low"}, True),
        (CLAUDE, "anthropic", {"thinking": {"type": "adaptive"}}, True),
        (CLAUDE, "anthropic", {"thinking": {"type": "enabled", "budget_tokens": 2_000}}, True),
        (CLAUDE, "anthropic", {"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, False),
        (CLAUDE_ALWAYS, "anthropic", {}, True),
        (BETWEEN_TOOLS, "anthropic", {"reasoning_effort": "none"}, True),
        (GEMINI_25, "gemini", {}, True),
        (GEMINI_25, "gemini", {"reasoning_effort": "none"}, False),
        (ELSEWHERE, "openai", {}, True),
        (Capabilities(), "openai", {"reasoning_effort": "high"}, False),
    ],
)
def test_the_row_and_the_body_decide(
    able: Capabilities, family: str, body: dict[str, Any], expected: bool
) -> None:
    """An effort beside none has it reason, none has it not where it can do without, and unset is as the row says."""
    assert reasons(json.dumps(body).encode(), model(capabilities=able, family=family)) is expected


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"reasoning": 3, "thinking": []}', b"\xff"])
def test_what_cannot_be_read_says_nothing(body: bytes) -> None:
    """The upstream judges a body: here it is as if nothing were said."""
    assert reasons(body, model(capabilities=ALWAYS))
    assert not reasons(body, model(capabilities=IF_ASKED))
