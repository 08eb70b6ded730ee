"""The profiles: what each generation of models can do, by golden rows of ids that are sold."""

import pytest

from schemas.catalogue.model import WINDOW_TOKENS
from schemas.catalogue.profiles import profiled

NEW = "max_completion_tokens"
OLD = "max_tokens"
ALL = "none low medium high xhigh max"
CLAUDE = "none minimal low medium high xhigh max"
ALWAYS = CLAUDE.removeprefix("none ")
LEVELS = "low medium high"
BUDGETS = "minimal low medium high xhigh max"

# id: limit field, sampling ("*" while the effort is none), efforts (the default behind a bar), stops, picture formula.
OPENAI = {
    "gpt-3.5-turbo": (OLD, "yes", "|", 4, ""),
    "gpt-3.5-turbo-0125": (OLD, "yes", "|", 4, ""),
    "gpt-4-0613": (OLD, "yes", "|", 4, ""),
    "gpt-4-turbo-2024-04-09": (OLD, "yes", "|", 4, "tiles"),
    "gpt-4o": (OLD, "yes", "|", 4, "tiles"),
    "gpt-4o-2024-08-06": (OLD, "yes", "|", 4, "tiles"),
    "gpt-4o-mini-2024-07-18": (OLD, "yes", "|", 4, "tiles"),
    "gpt-4o-audio-preview": (OLD, "yes", "|", 4, ""),
    "gpt-audio": (OLD, "yes", "|", 4, ""),
    "chatgpt-4o-latest": (OLD, "yes", "|", 4, "tiles"),
    "gpt-4.1": (OLD, "yes", "|", 4, "tiles"),
    "gpt-4.1-mini": (OLD, "yes", "|", 4, "patches"),
    "gpt-4.1-nano-2025-04-14": (OLD, "yes", "|", 4, "patches"),
    "o1": (NEW, "no", "low medium high|medium", 4, "tiles"),
    "o3": (NEW, "no", "low medium high|medium", 0, "tiles"),
    "o3-mini": (NEW, "no", "low medium high|medium", 0, ""),
    "o4-mini-2025-04-16": (NEW, "no", "low medium high|medium", 0, "patches"),
    "gpt-5": (NEW, "no", "minimal low medium high|medium", 0, "tiles"),
    "gpt-5-2025-08-07": (NEW, "no", "minimal low medium high|medium", 0, "tiles"),
    "gpt-5-mini": (NEW, "no", "minimal low medium high|medium", 0, "patches"),
    "gpt-5-nano": (NEW, "no", "minimal low medium high|medium", 0, "patches"),
    "gpt-5-chat-latest": (NEW, "yes", "|", 4, "tiles"),
    "gpt-5-pro": (NEW, "no", "high|high", 0, "tiles"),
    "gpt-5.1": (NEW, "*", "none low medium high|none", 4, "patches"),
    "gpt-5.1-chat-latest": (NEW, "no", "medium|medium", 0, "patches"),
    "gpt-5.1-codex-max": (NEW, "no", "low medium high xhigh|medium", 0, "patches"),
    "gpt-5.2": (NEW, "*", "none low medium high xhigh|none", 4, "patches"),
    "gpt-5.2-pro": (NEW, "no", "medium high xhigh|medium", 0, "patches"),
    "gpt-5.4": (NEW, "*", "none low medium high xhigh|none", 4, "patches"),
    "gpt-5.4-mini": (NEW, "*", "none low medium high xhigh|none", 4, "patches"),
    "gpt-5.5": (NEW, "*", "none low medium high xhigh|medium", 4, "patches"),
    "gpt-5.6-sol": (NEW, "*", f"{ALL}|medium", 4, "patches"),
    "gpt-6-sol": (NEW, "*", f"{ALL}|medium", 4, "patches"),
    "gpt-6-luna-2026-08-01": (NEW, "*", f"{ALL}|medium", 4, "patches"),
    "gpt-6.1-terra": (NEW, "*", f"{ALL}|medium", 4, "patches"),
    "gpt-6-astra": (NEW, "no", "low medium high xhigh max|medium", 0, "patches"),
    "gpt-6.1-sol-2026-09-29": (NEW, "no", "low medium high xhigh max|medium", 0, "patches"),
}
# id: thinking and its word for off, efforts, sampling, forced tools, strict tools, most tokens of a picture.
ANTHROPIC = {
    "claude-3-5-sonnet-20241022": ("", "none", True, True, False, 1_568),
    "claude-3-7-sonnet-20250219": ("budget disabled", CLAUDE, True, True, False, 1_568),
    "claude-opus-4-1-20250805": ("budget disabled", CLAUDE, True, True, False, 1_568),
    "claude-haiku-4-5-20251001": ("budget disabled", CLAUDE, True, True, True, 1_568),
    "claude-sonnet-4-6": ("effort disabled", "none minimal low medium high max", True, True, True, 1_568),
    "claude-opus-4-8": ("effort disabled", CLAUDE, False, True, True, 4_784),
    "claude-sonnet-5-20260701": ("effort disabled", CLAUDE, False, True, True, 4_784),
    "claude-haiku-5-5": ("effort disabled", CLAUDE, False, True, True, 4_784),
    "claude-sonnet-5-5": ("effort between_tools", CLAUDE, False, False, True, 4_784),
    "claude-opus-5-5": ("effort disabled", ALWAYS, False, False, True, 4_784),
    "claude-fable-5": ("effort disabled", ALWAYS, False, True, True, 4_784),
    "claude-fable-5-1": ("effort disabled", ALWAYS, False, False, True, 4_784),
    "claude-fable-5-2": ("effort disabled", ALWAYS, False, False, True, 4_784),
    "claude-mythos-5-2": ("effort disabled", ALWAYS, False, False, True, 4_784),
}
# id: thinking, efforts, sampling, picture formula.
GEMINI = {
    "gemini-1.5-pro-latest": ("", "none", True, "crops"),
    "gemini-2.0-flash-001": ("", "none", True, "crops"),
    "gemini-2.5-pro": ("budget", BUDGETS, True, "crops"),
    "gemini-2.5-flash-preview-09-2025": ("budget", f"none {BUDGETS}", True, "crops"),
    "gemini-2.5-flash-lite": ("budget", f"none {BUDGETS}", True, "crops"),
    "gemini-3-pro-preview": ("level", "low high", True, "flat"),
    "gemini-3-flash-preview": ("level", f"minimal {LEVELS}", True, "flat"),
    "gemini-3.1-pro-preview": ("level", LEVELS, True, "flat"),
    "gemini-3.5-flash-lite": ("level", f"minimal {LEVELS}", False, "flat"),
    "gemini-3.6-flash": ("level", f"minimal {LEVELS}", False, "flat"),
    "gemini-3.8-flash": ("level", LEVELS, False, "flat"),
    "gemini-4-argon": ("level", LEVELS, True, "flat"),
    "gemini-4-carbon-preview": ("level", LEVELS, True, "flat"),
}
# id: thinking, efforts, forced tools, cache points, most tokens of a picture.
BEDROCK = {
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": ("budget", CLAUDE, True, 4, 1_600),
    "anthropic.claude-sonnet-5-5-v1:0": ("effort", CLAUDE, False, 4, 4_800),
    "global.anthropic.claude-fable-5-2-v1": ("effort", ALWAYS, False, 4, 4_800),
    "amazon.nova-micro-v1:0": ("", "", True, 4, 0),
    "eu.amazon.nova-pro-v1:0": ("", "", True, 4, 2_700),
    "us.amazon.nova-2-lite-v1:0": ("level", "none minimal low medium high", True, 4, 2_700),
}
# An id that the table does not have: what stands for it.
GUESSES = {
    ("openai", "gpt-7"): "gpt-6.1-sol",
    ("openai", "gpt-6.2-sol"): "gpt-6.1-sol",
    ("openai", "gpt-5.9"): "gpt-6.1-sol",
    ("openai", "o5"): "gpt-6.1-sol",
    ("anthropic", "claude-opus-6"): "claude-opus-5-5",
    ("anthropic", "claude-opus-5-9"): "claude-opus-5-5",
    ("anthropic", "claude-sonnet-6-20270101"): "claude-sonnet-5-5",
    ("anthropic", "claude-haiku-7"): "claude-haiku-5-5",
    ("anthropic", "claude-fable-6"): "claude-fable-5-2",
    ("gemini", "gemini-3.9-flash"): "gemini-3.8-flash",
    ("gemini", "gemini-flash-lite-latest"): "gemini-3.5-flash-lite",
    ("gemini", "gemini-5-neon"): "gemini-4-argon",
    ("bedrock", "us.anthropic.claude-opus-6-v1:0"): "anthropic.claude-opus-5-5-v1:0",
}


def formula(pictures: object) -> str:
    """The name of a formula; "" for none."""
    return type(pictures).__name__.lower() if pictures is not None else ""


@pytest.mark.parametrize("upstream", OPENAI)
def test_openai(upstream):
    """A GPT's limit field, sampling, efforts and their default, stops and picture formula are those of its generation."""
    able = profiled("openai", upstream)
    sampling = "*" if able.sampling_at_none else "yes" if able.sampling else "no"
    found = (able.limit_field, sampling, " ".join(able.efforts) + "|" + able.effort_default, able.stop_max)
    assert (*found, formula(able.pictures)) == OPENAI[upstream]
    assert not able.guessed
    assert able.files is able.images is bool(able.pictures) or upstream.startswith("gpt-4-turbo")


@pytest.mark.parametrize("upstream", ANTHROPIC)
def test_anthropic(upstream):
    """A Claude's thinking and how it is switched off, efforts, sampling, forced and strict tools are its generation's."""
    able = profiled("anthropic", upstream)
    thinking = f"{able.thinking} {able.thinking_off}" if able.thinking else ""
    found = (thinking, " ".join(able.efforts), able.sampling, able.forced_tools, able.strict_tools)
    assert (*found, able.pictures.tokens_max) == ANTHROPIC[upstream]
    assert not able.guessed


@pytest.mark.parametrize("upstream", GEMINI)
def test_gemini(upstream):
    """A Gemini's thinking, efforts, sampling and picture formula are those of its generation."""
    able = profiled("gemini", upstream)
    found = (able.thinking, " ".join(able.efforts), able.sampling, formula(able.pictures))
    assert found == GEMINI[upstream]
    assert not able.guessed


@pytest.mark.parametrize("upstream", BEDROCK)
def test_bedrock(upstream):
    """A model on Bedrock is what it is at its maker's, by whatever profile it is called."""
    able = profiled("bedrock", upstream)
    found = (able.thinking, " ".join(able.efforts), able.forced_tools, able.cache_points)
    assert (*found, able.image_tokens_max) == BEDROCK[upstream]
    assert not able.guessed


@pytest.mark.parametrize(("profile", "upstream"), GUESSES)
def test_a_newer_id_is_taken_for_the_newest_of_its_line(profile, upstream):
    """A release that the table does not have can what the newest can, says that it is a guess, and takes no pictures."""
    able, stands_for = profiled(profile, upstream), profiled(profile, GUESSES[profile, upstream])
    assert able.guessed
    assert not able.images
    assert (able.pictures, able.audio_tokens_per_s) == (None, 0)
    assert able.file_tokens_max == stands_for.file_tokens_max == WINDOW_TOKENS
    same = (
        "sampling",
        "sampling_at_none",
        "efforts",
        "effort_default",
        "thinking",
        "forced_tools",
        "stop_max",
    )
    assert [getattr(able, name) for name in same] == [getattr(stands_for, name) for name in same]


@pytest.mark.parametrize("upstream", ["llama", "gpt-oss-120b", "gpt-j", "mistral-large", "o", "gpt-4o-odd"])
def test_another_servers_model_is_no_gpt(upstream):
    """An id that is not of OpenAI's lines gets no newer generation's limits, and says that nothing is known of it."""
    able = profiled("openai", upstream)
    assert able.guessed
    assert (able.limit_field, able.sampling, able.stop_max, able.efforts) == (OLD, True, 4, ())
