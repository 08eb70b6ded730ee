"""Which fields go on to an upstream, and which names no pool may add."""

import pytest
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_create_params

from schemas.catalogue.forwarded import BASES, NAME_CHARS_MAX, OPENAI, Forwarded, why_not_more
from schemas.chat.parameters import PRICED

# Of each kind that moves a price or a bound, as servers spell it.
PRICE_MOVING = {
    "limits": ["max_tokens", "max_new_tokens", "maxOutputTokens", "num_predict", "n_predict", "min-tokens"],
    "budgets": ["thinking_budget", "truncate_prompt_tokens"],
    "choices": ["n", "best_of", "candidateCount", "num_return_sequences", "use_beam_search"],
    "usage": ["usage", "stream_options", "streamOptions"],
    "caches": ["cache_control", "cached_content", "prompt_cache_retention", "cache_salt"],
    "tiers": ["service_tier", "serviceTier", "priority", "speed", "inference_geo"],
    "modalities": ["modalities", "audio", "image_config", "mm_processor_kwargs"],
    "models": ["model", "models", "provider", "route", "lora", "draft_model"],
    "prompts": [
        "messages",
        "prompt",
        "system",
        "documents",
        "chat_template",
        "chat_template_kwargs",
        "suffix",
    ],
    "operator": ["data_sources", "file_ids", "connectors", "mcp_servers", "container"],
    "searches": ["web_search_options", "search_parameters", "enable_search", "plugins", "tools"],
    "wrappers": ["extra_body", "options", "generationConfig"],
}


def test_what_openai_documents_is_forwarded():
    """Every parameter of OpenAI's SDK is in every list, for chat and for legacy completions."""
    chat = set(chat_create_params.CompletionCreateParamsBase.__annotations__)
    legacy = set(completion_create_params.CompletionCreateParamsBase.__annotations__)
    for base in BASES:
        assert chat | {"stream"} <= Forwarded(base=base).fields(chat=True)
        assert legacy | {"stream"} <= Forwarded(base=base).fields(chat=False)


def test_lists_have_no_two_names_that_servers_may_confuse():
    """No list has two names that differ by case alone, and what is priced is in some list under its own name."""
    for base in BASES:
        for chat in (True, False):
            names = Forwarded(base=base).fields(chat=chat)
            assert len({name.casefold() for name in names}) == len(names)
        assert Forwarded(base=base).fields(chat=True) | Forwarded(base=base).fields(chat=False) >= PRICED


def test_an_unknown_list_is_the_shortest():
    """A row of a newer version forwards no more than OpenAI's own fields."""
    assert Forwarded(base="of another day").fields(chat=True) == Forwarded(base=OPENAI).fields(chat=True)


@pytest.mark.parametrize(
    "name", [name for names in PRICE_MOVING.values() for name in names] + sorted(PRICED), ids=str
)
def test_no_pool_adds_what_moves_a_price(name):
    """Whatever its letters are: some servers do not tell them apart, and some join words otherwise."""
    for spelt in (name, name.upper(), name.title(), name.replace("_", ""), name.replace("_", "-").upper()):
        assert why_not_more(spelt), spelt


@pytest.mark.parametrize(
    "name", ["Temperature", "TOP_P", "tOp_K", "\ufb06op", "", "x" * (NAME_CHARS_MAX + 1), "a\nb"]
)
def test_no_pool_adds_a_listed_name_in_other_letters_or_none_at_all(name):
    """A second spelling of a listed field would be read as that field by some servers."""
    assert why_not_more(name)


@pytest.mark.parametrize(
    "name", ["thinking", "enable_thinking", "x_new", "é", "safe_mode", "reasoning", "mirostat"]
)
def test_a_pool_may_add_the_rest(name):
    """What moves no price is the operator's to add."""
    assert why_not_more(name) == ""
