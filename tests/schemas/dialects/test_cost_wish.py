"""The wish for `cost`, `"usage": {"include": true}`, in every dialect: read here, checked, and sent to nobody."""

import json
from typing import Any

import msgspec
import pytest

from schemas.chat.priced import RequestError
from schemas.dialects import DIALECTS
from schemas.dialects.base import Dialect
from tests.schemas.dialects.test_dialects import PROMPT

every_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.name)


def fields(dialect: Dialect, usage: Any) -> dict[str, msgspec.Raw]:
    return dialect.decode(json.dumps({"model": "m", "usage": usage, **PROMPT[dialect.name]}).encode())


@every_dialect
@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        ({"include": True}, True),
        ({"include": False}, False),
        ({"include": None}, False),
        ({}, False),
        (None, False),
        ({"include": True, "more": 1}, True),
    ],
)
def test_it_is_read_and_goes_no_further(dialect: Dialect, usage: Any, wanted: bool) -> None:
    """An absent wish, null and false are one; whatever it says, no provider is sent it, and it is not named as dropped."""
    read = fields(dialect, usage)
    ask = dialect.read(read)
    assert ask.include_cost is wanted
    assert "usage" not in msgspec.json.decode(dialect.encode(read))
    assert "usage" not in ask.dropped


@every_dialect
@pytest.mark.parametrize(
    "usage", [3, "x", True, [], [{"include": True}], {"include": 1}, {"include": "true"}]
)
def test_another_shape_is_refused(dialect: Dialect, usage: Any) -> None:
    """A 400 that names the field, in the dialect's envelope."""
    with pytest.raises(RequestError) as refused:
        dialect.read(fields(dialect, usage))
    assert (refused.value.error.status, refused.value.error.param) == (400, "usage")
    assert b"usage" in dialect.error_body(refused.value.error, "req_1")
