"""What the gateway forwards, field by field, against what vendors have published and the named additions to it."""

import json

import pytest

from schemas.catalogue.forwarded import COMPATIBLE, OPENAI, Forwarded
from schemas.chat.kinds import CHAT_KINDS, COMPLETION_KINDS, FLAG, LIST, NUMBER, OBJECT, TEXT
from schemas.dialects.messages.fields import KINDS as MESSAGE_KINDS
from schemas.dialects.messages.fields import KNOWN
from schemas.responses.fields import PASSED
from tests.fakes.published.extract import DOCUMENTS, HERE, extracted
from tests.fakes.published.schemas import additions, fields, kinds, why_not

_OWN = {"models", "usage"}  # the gateway's own: no provider gets them
_TYPES = {
    TEXT: {"string"},
    NUMBER: {"number", "integer"},
    FLAG: {"boolean"},
    LIST: {"array"},
    OBJECT: {"object"},
}


@pytest.mark.parametrize(
    ("vendor", "form", "forwarded"),
    [
        ("openai", "chat", Forwarded(base=OPENAI).fields(chat=True)),
        ("openai", "completions", Forwarded(base=OPENAI).fields(chat=False)),
        ("compatible", "chat", Forwarded(base=COMPATIBLE).fields(chat=True)),
        ("openai", "responses", PASSED),
        ("anthropic", "messages with betas", KNOWN),
    ],
)
def test_no_field_goes_on_that_is_not_published_or_named(vendor, form, forwarded):
    """Each list of fields that go on is within the vendor's schema and the overlay."""
    assert forwarded - _OWN <= fields(vendor, form).keys()


@pytest.mark.parametrize(
    ("vendor", "form", "told"),
    [
        ("openai", "chat", CHAT_KINDS),
        ("openai", "completions", COMPLETION_KINDS),
        ("anthropic", "messages", MESSAGE_KINDS),
    ],
)
def test_each_field_takes_the_kinds_that_are_published(vendor, form, told):
    """The kinds of value by which a field is refused are those of the schema: none is refused that its vendor takes."""
    for name, begins in told.items():
        taken = set().union(*(types for kind, types in _TYPES.items() if kind in begins))
        wanted = kinds(vendor, form if name in fields(vendor, form) else f"{form} with betas", name)
        assert wanted - {"null"} <= taken, name
        assert all(types & wanted for kind, types in _TYPES.items() if kind in begins), name


def test_additions_are_named_and_say_where_they_are_from():
    """The overlay has no nameless row, no name twice, none without a source, and none that is published by now."""
    rows = additions()
    assert len({row["name"] for row in rows}) == len(rows)
    assert all(row["name"] and row["source"] and row["add"] for row in rows)
    for form in ("chat", "responses"):
        assert fields("openai", form)
    assert fields("anthropic", "messages")


def test_a_published_schema_takes_no_field_that_it_does_not_name():
    """An unknown field is told at the top and in the depth; a sound body has nothing against it."""
    sound = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert why_not("openai", "chat", sound) == {}
    assert why_not("openai", "chat", sound | {"of_another_day": 1}).keys() == {"of_another_day"}
    deep = {"model": "m", "messages": [{"role": "user", "content": "hi", "of_another_day": 1}]}
    assert why_not("openai", "chat", deep).keys() == {"messages"}
    assert why_not("compatible", "chat", sound | {"top_k": 5}) == {}
    assert why_not("openai", "chat", sound | {"top_k": 5}).keys() == {"top_k"}


@pytest.mark.long
@pytest.mark.parametrize("vendor", DOCUMENTS)
def test_the_files_are_what_the_package_has(vendor):
    """Made anew from the pinned package, each file is the same byte for byte."""
    made = extracted(vendor)
    assert made == (HERE / f"{vendor}.json").read_text()
    assert json.loads(made)["source"]["sha256"]
