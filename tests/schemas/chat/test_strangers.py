"""Fields and tools that no list has: a 400 that names them, before any hold."""

import json
from typing import Any

import pytest
from msgspec import structs

from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.forwarded import BASES, Forwarded
from schemas.chat import priced
from schemas.chat.priced import RequestError
from schemas.chat.request import CHAT, COMPLETIONS
from schemas.chat.strangers import check
from schemas.errors import WireError

MODEL = BUILTIN[0]
ASKED = {CHAT: {"messages": [{"role": "user", "content": "x"}]}, COMPLETIONS: {"prompt": "x"}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
both = pytest.mark.parametrize("dialect", [CHAT, COMPLETIONS])
every_base = pytest.mark.parametrize("base", BASES)


def refused(fields: dict[str, Any], dialect: str = CHAT, **forwards: Any) -> WireError | None:
    """What is said of a body with some more in it."""
    model = structs.replace(MODEL, forwards=Forwarded(**forwards))
    try:
        check(priced.decode(json.dumps({"model": "m"} | ASKED[dialect] | fields).encode()), model, dialect)
    except RequestError as error:
        return error.error
    return None


@both
@every_base
def test_an_unlisted_field_is_openais_400(base, dialect):
    """Of any list and dialect: status, type, code, and the first such field as `param`; no retry is asked for."""
    for name in (
        "x_new",
        "thinking",
        "chat_template",
        "chat_template_kwargs",
        "documents",
        "extra_body",
        "",
        "\x00",
    ):
        error = refused({name: None, "later": 1}, dialect, base=base)
        assert error is not None
        assert (error.status, error.type) == (400, "invalid_request_error")
        assert (error.code, error.param) == ("unknown_parameter", name)
        assert not error.should_retry


@both
def test_one_dialects_prompt_is_no_field_of_the_other(dialect):
    """A body has the prompt of its own dialect and no other, which would reach an upstream unread."""
    (other,) = set(ASKED) - {dialect}
    (name,) = ASKED[other]
    assert (error := refused(ASKED[other], dialect)) is not None
    assert error.param == name


def test_lists_differ():
    """Sampling of open models is for their servers; what is translated honours top_k; OpenAI has neither."""
    assert refused({"min_p": 0.1}, base="compatible") is None
    assert refused({"top_k": 1}, base="translated") is None
    for name, base in (
        ("min_p", "translated"),
        ("min_p", "openai"),
        ("top_k", "openai"),
        ("cache_control", "openai"),
    ):
        assert refused({name: 1}, base=base) is not None


@both
def test_a_row_may_add_a_field(dialect):
    """In exactly its letters."""
    assert refused({"x_new": {"a": 1}}, dialect, more=("x_new",)) is None
    assert refused({"X_new": {"a": 1}}, dialect, more=("x_new",)) is not None


def test_a_long_name_is_told_in_part():
    """An error is not as long as a body may be."""
    error = refused({"k" * 100_000: 1})
    assert error is not None
    assert len(error.message) < 1_000


SERVED = [None, [], [FUNCTION], [{"type": "custom", "custom": {"name": "c"}}], [{"function": {"name": "f"}}]]
SERVED += [[FUNCTION | {"cache_control": {"type": "ephemeral"}, "strict": True}], [FUNCTION | {"type": None}]]


@every_base
@pytest.mark.parametrize("tools", SERVED)
def test_tools_that_run_at_the_caller_are_taken(base, tools):
    """Functions, one without a type too, as servers take it, and custom tools."""
    assert refused({"tools": tools}, base=base) is None


HOSTED = [
    "web_search",
    "web_search_preview",
    "builtin_function",
    "openrouter:web_search",
    "mcp",
    "code_interpreter",
]
HOSTED += [
    "file_search",
    "browser_search",
    "live_search",
    "retrieval",
    "Function",
    "function ",
    "",
]


@every_base
@pytest.mark.parametrize("kind", HOSTED, ids=str)
def test_tools_that_run_elsewhere_are_not(base, kind):
    """Wherever in the list they stand: their fee is no token's, and they act in the operator's account."""
    error = refused({"tools": [FUNCTION, {"type": kind, "function": {"name": "f"}}]}, base=base)
    assert error is not None
    assert (error.status, error.code, error.param) == (400, "unsupported_value", "tools[1].type")


@pytest.mark.parametrize(
    ("tool", "code", "param"),
    [
        ({"google_search": {}}, "unsupported_value", "tools[0].type"),
        ({"type": None}, "unsupported_value", "tools[0].type"),
    ],
)
def test_a_tool_without_a_type_is_a_function_or_none(tool, code, param):
    """What is named in another way than by its type is no tool that runs at the caller."""
    error = refused({"tools": [tool]})
    assert error is not None
    assert (error.status, error.code, error.param) == (400, code, param)


@pytest.mark.parametrize(
    "tools",
    ["web_search", 1, {}, [1], ["web_search"], [[FUNCTION]], [None], [{"type": 7}], [{"type": ["function"]}]],
)
def test_tools_are_a_list_of_objects(tools):
    """What cannot be read is not sent."""
    error = refused({"tools": tools})
    assert error is not None
    assert (error.code, error.param) == ("invalid_type", "tools")


def test_a_preset_may_take_fewer_kinds():
    """A row's own list of types counts."""
    error = refused({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, tools=("function",))
    assert error is not None
    assert error.code == "unsupported_value"
