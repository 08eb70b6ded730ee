"""Every field that an official SDK can send, against what goes on of it: listed, or knowingly left out or refused."""

import importlib
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import typing_extensions

from schemas.catalogue.forwarded import BASES, Forwarded
from schemas.chat.forms import CHAT_FORMS, COMPLETION_FORMS, EMBEDDING_FORMS
from schemas.chat.sieve import Inner, Names, Typed
from schemas.dialects.messages.fields import KNOWN, REFUSED, tool_tokens
from schemas.dialects.messages.forms import FORMS as MESSAGE_FORMS
from schemas.responses.fields import KNOWN as RESPONSES_KNOWN
from schemas.responses.forms import FORMS as RESPONSES_FORMS
from schemas.responses.items import HOSTED
from schemas.responses.tools import CLIENT_TOOLS

_WRAPPERS = (typing.Required, typing.NotRequired, typing_extensions.Required, typing_extensions.NotRequired)
_EMBEDDINGS = frozenset(("input", "model", "encoding_format", "dimensions", "user"))

# Left out and named: what has a price or a prompt of its own, acts in the operator's account, or is of another route.
_PICTURES = """
    messages.content.content.content.source.content.transformations
    messages.content.content.source.content.transformations messages.content.content.transformations
    messages.content.source.content.transformations messages.content.transformations
    """  # asks that a picture be counted in another way
LEFT_OUT: dict[str, str] = {
    "chat": "",
    "completions": "",
    "embeddings": "",
    "responses": """
        access_programs background_options context_management image max_tool_calls input.reasoning input.text
        prompt_cache_options.comparison_response_id prompt_cache_options.prewarm
        tools.display_height tools.display_width input.tools.display_height input.tools.display_width
        """,
    "messages": f"diagnostics {_PICTURES}",
    "messages with betas": f"""
        betas compaction context_management.edits.instructions context_management.edits.pause_after_compaction
        diagnostics messages.clear_at messages.content.from messages.content.to messages.content.mcp_server_name
        messages.content.tool messages.content.tool_changes messages.content.tools messages.content.trigger
        messages.output_config thinking.block_binding thread {_PICTURES}
        """,
}


def _runs_elsewhere(place: str, kind: str) -> bool:
    """Whether a tool, what one is given, or an item of a history is a provider's own: it is left out or refused whole."""
    if place in ("tools", "input.tools"):
        return kind not in CLIENT_TOOLS and tool_tokens(kind) is None
    if place.endswith("tools.environment"):
        return kind != "local"
    return place == "input" and kind in HOSTED


# An SDK is seconds of imports: where its type is, for the process that runs the test.
SDKS: tuple[tuple[str, str, frozenset[str], Names], ...] = (
    (
        "chat",
        "openai.types.chat.completion_create_params:CompletionCreateParamsStreaming",
        Forwarded().fields(chat=True),
        CHAT_FORMS,
    ),
    (
        "completions",
        "openai.types.completion_create_params:CompletionCreateParamsStreaming",
        Forwarded().fields(chat=False),
        COMPLETION_FORMS,
    ),
    (
        "embeddings",
        "openai.types.embedding_create_params:EmbeddingCreateParams",
        _EMBEDDINGS,
        EMBEDDING_FORMS,
    ),
    (
        "responses",
        "openai.types.responses.response_create_params:ResponseCreateParamsStreaming",
        RESPONSES_KNOWN,
        RESPONSES_FORMS,
    ),
    (
        "messages",
        "anthropic.types.message_create_params:MessageCreateParamsStreaming",
        KNOWN | REFUSED.keys(),
        MESSAGE_FORMS,
    ),
    (
        "messages with betas",
        "anthropic.types.beta.message_create_params:MessageCreateParamsStreaming",
        KNOWN | REFUSED.keys(),
        MESSAGE_FORMS,
    ),
)


def fields_of(params: str) -> dict[str, Any]:
    """The fields of an SDK's type and what each may be."""
    module, _, name = params.partition(":")
    return typing_extensions.get_type_hints(getattr(importlib.import_module(module), name))


def _bare(given: Any) -> Any:
    """A type without what only says whether it is needed."""
    while True:
        origin = typing.get_origin(given)
        if origin in _WRAPPERS or origin is typing.Annotated:
            given = typing.get_args(given)[0]
        elif isinstance(given, typing_extensions.TypeAliasType):
            given = given.__value__
        else:
            return given


def _kinds(given: Any) -> Iterator[str]:
    """The values of a literal, or of those in a union."""
    given = _bare(given)
    for one in typing.get_args(given):
        if typing.get_origin(given) is typing.Literal:
            yield one
        else:
            yield from _kinds(one)


def unlisted(given: Any, form: Inner, place: str, within: tuple[Any, ...] = ()) -> Iterator[str]:
    """The places of the names that a type has and a form does not."""
    given = _bare(given)
    if form is None or given in within:
        return
    if isinstance(form, list | tuple):
        yield from unlisted(given, form[0], place, within)
    elif isinstance(given, type) and typing_extensions.is_typeddict(given):
        hints = typing_extensions.get_type_hints(given)
        for kind in list(_kinds(hints.get("type"))) or [""]:
            if not _runs_elsewhere(place, kind):
                yield from _unlisted(hints, form, place, (*within, given), kind)
    else:
        for inner in typing.get_args(given):
            yield from unlisted(inner, form, place, within)


def _unlisted(
    hints: dict[str, Any], form: Names | Typed, place: str, within: tuple[Any, ...], kind: str
) -> Iterator[str]:
    names = form.kinds.get(kind, form.other) if isinstance(form, Typed) else form
    for name, inner in hints.items():
        if name in names:
            yield from unlisted(inner, names[name], f"{place}.{name}", within)
        else:
            yield f"{place}.{name}"


@pytest.mark.parametrize(("name", "params", "top", "forms"), SDKS, ids=[sdk[0] for sdk in SDKS])
def test_each_field_of_an_sdk_is_listed_or_named_here(name, params, top, forms):
    """At the top and at any depth, of every type that it can send."""
    hints = fields_of(params)
    found = {one for one in hints if one not in top}
    for one, inner in hints.items():
        found.update(unlisted(inner, forms.get(one), one))
    assert found == set(LEFT_OUT[name].split())


@pytest.mark.parametrize("base", BASES)
def test_chat_is_served_by_every_list(base):
    """What OpenAI's SDK sends to chat is listed for every kind of server."""
    assert fields_of(SDKS[0][1]).keys() <= Forwarded(base=base).fields(chat=True)
