"""What an estimate of a Messages request counts."""

import json

import pytest

from schemas.dialects.messages.counting import IMAGE_TOKENS, count, likely_tokens
from schemas.dialects.messages.translate import decode
from schemas.estimates.text import weigh
from tests.fakes.texts import text as prose


def tokens(*content: dict[str, object], **more: object) -> int:
    """The estimate for one turn of the user's."""
    body = {"model": "m", "messages": [{"role": "user", "content": list(content)}], **more}
    return count(decode(json.dumps(body).encode()))


def test_everything_that_reaches_the_model_counts() -> None:
    """System, text, thinking, inputs and results of tools, tools with their schemas: not only texts."""
    empty = tokens()
    text = prose("english", 1, 3_500)
    likely = weigh(text).tokens
    for content, more in (
        ([{"type": "text", "text": text}], {}),
        ([{"type": "thinking", "thinking": text, "signature": "s" * 999}], {}),
        ([{"type": "tool_use", "id": "a", "name": "", "input": text}], {}),
        ([{"type": "tool_result", "tool_use_id": "a", "content": text}], {}),
        ([{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": text}]}], {}),
        ([{"type": "document", "source": {"type": "text", "data": text}}], {}),
        ([], {"system": text}),
        ([], {"system": [{"type": "text", "text": text}]}),
        ([], {"tools": [{"name": "", "description": text}]}),
        ([], {"tools": [{"name": "", "input_schema": {text: 1}}]}),
    ):
        assert tokens(*content, **more) - empty == pytest.approx(likely, rel=0.03)


def test_a_model_with_a_tokenizer_of_its_own_counts_more() -> None:
    """The estimate is that of the model that is named, of a long text as of a short one."""
    body = {"model": "m", "messages": [{"role": "user", "content": prose("german", 2, 90_000)}]}
    asked = decode(json.dumps(body).encode())
    assert count(asked, "claude-opus-5-5") == pytest.approx(1.45 * count(asked, "gpt-4o"), rel=0.01)


def test_pictures_count_alike() -> None:
    """However large their data is, wherever they stand."""
    picture = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "A" * 90_000},
    }
    assert tokens(picture) - tokens() == IMAGE_TOKENS
    assert tokens({"type": "tool_result", "tool_use_id": "", "content": [picture]}) - tokens() == IMAGE_TOKENS


def test_tokens_are_rounded_up() -> None:
    """No text is nothing."""
    assert [likely_tokens(count) for count in (0, 1, 3, 4, 7, 8)] == [0, 1, 1, 2, 2, 3]
