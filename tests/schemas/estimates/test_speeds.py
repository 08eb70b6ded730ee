"""How fast a model is reckoned to be before an answer of it has shown that, against what is published of such models."""

import pytest

from schemas.estimates.speeds import IDS_MAX, OTHER_PER_S, START_SHARE, start_per_s

# Tokens a second of one stream, as vendors and public measurements have them: at the quick end of what each shows.
PUBLISHED = (
    ("openai", "gpt-5", 155.0),  # at its quickest host
    ("openai", "gpt-5.1", 125.0),
    ("openai", "gpt-5.4-mini", 120.0),
    ("openai", "gpt-5-nano", 190.0),
    ("openai", "o4-mini", 150.0),
    ("openai", "gpt-5-codex", 190.0),
    ("anthropic", "claude-haiku-4-5", 180.0),
    ("anthropic", "claude-sonnet-4-6", 80.0),
    ("anthropic", "claude-opus-4-6", 70.0),
    ("bedrock", "global.anthropic.claude-opus-4-6-v1", 70.0),
    ("bedrock", "amazon.nova-lite-v1:0", 300.0),
    ("gemini", "gemini-3-flash-preview", 218.0),
    ("gemini", "gemini-2.5-flash-lite", 400.0),
    ("gemini", "gemini-3.1-pro-preview", 140.0),
    ("groq", "openai/gpt-oss-20b", 1_000.0),
    ("groq", "openai/gpt-oss-120b", 500.0),
    ("groq", "llama-3.1-8b-instant", 560.0),
    ("cerebras", "gpt-oss-120b", 3_000.0),
    ("cerebras", "qwen-3-32b", 2_600.0),
    ("together", "openai/gpt-oss-120b", 300.0),
    ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", 150.0),
    ("deepseek", "deepseek-reasoner", 60.0),
    ("moonshot", "kimi-k2.5", 100.0),
    ("xai", "grok-4.3", 100.0),
    ("xai", "grok-code-fast-1", 240.0),
    ("mistral", "magistral-small-latest", 200.0),
)


@pytest.mark.parametrize(("preset", "upstream", "per_s"), PUBLISHED)
def test_a_start_is_near_what_is_published(preset, upstream, per_s):
    """No start is below three quarters of a published speed, and none is twice it."""
    assert 0.75 * per_s <= start_per_s(preset, upstream) < 2 * per_s


def test_an_id_that_says_nothing_has_a_start():
    """A server of one's own, and a vendor that is new, start between what is in the rows."""
    assert start_per_s("", "") == start_per_s("mine", "house-model") == START_SHARE * OTHER_PER_S


def test_few_ids_are_remembered():
    """However many ids callers name, what is kept of them is bounded."""
    for number in range(2 * IDS_MAX):
        start_per_s("p", f"m{number}")
    assert start_per_s.cache_info().currsize <= IDS_MAX
