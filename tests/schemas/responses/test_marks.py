"""What an item's id says of its length: a bound that only the gateway can write, and that requests are held to."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.chat.priced import RequestError, decode
from schemas.dialects.responses import DIALECT
from schemas.responses.marks import (
    ITEM_BYTES_MAX,
    MARK_CHARS,
    Marks,
    bytes_max,
    is_marked,
    is_true,
    unmarked,
    within,
)
from schemas.responses.references import REFERENCES_MAX, verified
from tests.schemas.responses.test_priced import MODEL

SCOPE = "scope-1"
MARKS = Marks(SCOPE, "req_1", 100)
USER = {"role": "user", "content": "hi"}
SAID = MARKS.exact("msg_1_0", 700)


def reference(item_id: str, kind: str | None = "item_reference") -> dict[str, Any]:
    return {"type": kind, "id": item_id}


def fields_of(*items: dict[str, Any], **more: Any) -> Any:
    return decode(json.dumps({"model": "M", "input": [USER, *items], **more}).encode())


def refused(*item_ids: str, scope: str = SCOPE) -> Any:
    with pytest.raises(RequestError) as caught:
        verified(scope, item_ids)
    return caught.value.error


@given(st.text("abcXYZ_-019", min_size=1, max_size=60), st.integers(0, 2**40))
def test_a_mark_says_its_bound_and_comes_off(item_id: str, size_bytes: int) -> None:
    """The id is whole without its mark; the bound is what was said, and at most what is ever kept."""
    marked = MARKS.exact(item_id, size_bytes)
    assert is_true(SCOPE, marked)
    assert bytes_max([marked]) == min(size_bytes, ITEM_BYTES_MAX)
    assert unmarked(marked) == item_id
    assert len(marked) == len(item_id) + MARK_CHARS


def test_no_mark_can_be_made_up() -> None:
    """Another bound, id, call, or scope makes it untrue, and without a scope none is true."""
    forged = [
        SAID.replace("_k002bc", "_k00001"),
        SAID.replace("msg", "fc"),
        SAID.replace("_k", "_s"),
        SAID[:-1] + "0",
        SAID[:-1] + "1",
    ]
    forged.append(SAID.replace(SAID[-26:-16], "0" * 10))
    assert sum(is_true(SCOPE, item_id) for item_id in forged if item_id != SAID) == 0
    assert not is_true("scope-2", SAID)
    assert not is_true("", Marks("", "req_1", 100).exact("msg_1_0", 700))
    assert not is_true(SCOPE, "msg_1_0")
    assert bytes_max(["msg_1_0"]) == 0


def test_calls_keep_apart_what_servers_do_not() -> None:
    """The same id in the answers of two calls is two items."""
    assert Marks(SCOPE, "req_1", 9).loose("msg_up") != Marks(SCOPE, "req_2", 9).loose("msg_up")


def test_items_of_a_stream_share_a_bound() -> None:
    """All that is kept of one call fits in what any of its marks says, and of other calls nothing counts for it."""
    shared = 1024 + 8 * 100
    ids = [MARKS.loose(f"msg_1_{number}") for number in range(4)]
    assert bytes_max(ids) == bytes_max(ids[:1]) == shared
    assert bytes_max([*ids, SAID, SAID, Marks(SCOPE, "req_2", 100).loose("msg")]) == 2 * shared + 2 * 700
    third = b"x" * (shared // 3)
    items = [(one, third) for one in ids]
    assert within([*items, (SAID, b"x" * 700), (SAID, b"x" * 701), ("msg", b"")]) == [
        *items[:3],
        (SAID, b"x" * 700),
    ]
    assert sum(len(data) for _, data in within(items)) <= bytes_max(ids)


def test_items_of_plain_answers_say_their_own_length() -> None:
    """To the byte; what has no id, or one of odd characters, is left alone."""
    whole = MARKS.exactly(b'{"id":"msg_1","type":"message"}')
    assert len(whole) == bytes_max([json.loads(whole)["id"]])
    for odd in (b'{"type":"x"}', b'{"id":5}', b'{"id":"a b"}', b'{"id":"%b"}' % (b"x" * 129)):
        assert MARKS.exactly(odd) == MARKS.loosely(odd) == odd


def test_which_ids_are_looked_for() -> None:
    """Marked references alone, by whatever form they have; nothing of `store` but an explicit `false` ends keeping."""
    items = [reference(SAID), {"id": SAID + ""}, reference("rs_1"), USER | {"id": SAID}, {"type": "message"}]
    ask = DIALECT.read(fields_of(*items))
    assert ask.references == (SAID, SAID)
    assert ask.keeps
    assert [DIALECT.read(fields_of(store=store)).keeps for store in (True, None, False)] == [
        True,
        True,
        False,
    ]


def test_what_is_referred_to_is_bounded_before_it_is_read() -> None:
    """Each reference counts what its mark says, in the prompt's bound and not among the bytes for estimates."""
    without, fields = fields_of(reference("rs_" + "x" * (len(SAID) - 3))), fields_of(reference(SAID))
    alone = DIALECT.bound(without, DIALECT.read(without), MODEL)
    ask = DIALECT.read(fields)
    both = DIALECT.bound(fields, ask, MODEL)
    assert both.prompt_max == alone.prompt_max + 700
    assert both.text_bytes == alone.text_bytes


def test_references_are_verified() -> None:
    """Another's reasoning is lost, anything else that is not this key's is a 404 that names it."""
    own, other = MARKS.loose("rs_1_0"), Marks("scope-2", "req_9", 9)
    assert verified(SCOPE, [own, other.loose("rs_2_0"), SAID]) == (own, SAID)
    theirs = other.loose("msg_2_0")
    error = refused(SAID, theirs)
    assert (error.status, error.param) == (404, "input")
    assert error.message.startswith(f"Item with id '{theirs}' not found. Items are not persisted")
    assert refused(SAID, scope="").status == 404


def test_references_are_few_and_each_is_one() -> None:
    """More than a request may have, or one twice, is a 400."""
    many = [MARKS.loose(f"msg_1_{number}") for number in range(REFERENCES_MAX + 1)]
    assert len(verified(SCOPE, many[1:])) == REFERENCES_MAX
    assert (refused(*many).status, refused(*many).param) == (400, "input")
    assert refused(SAID, SAID).message.startswith("Duplicate item found with id")


def test_an_edge_leaves_to_the_worker_what_references_hide() -> None:
    """A result whose call may be behind a reference is no fault yet; one without any reference is, as is a form."""
    result = {"type": "function_call_output", "call_id": "a", "output": "x"}

    def refusal(*items: dict[str, Any]) -> Any:
        return DIALECT.refuse(MODEL, json.dumps({"model": "M", "input": [USER, *items]}).encode())

    assert refusal(reference(SAID), result) is None
    assert refusal({"id": SAID}, result) is None
    assert "No tool call found" in refusal(result).message
    assert "No tool call found" in refusal(reference("rs_1"), result).message
    assert refusal(reference(SAID), {"role": "boss", "content": "x"}).param == "input[2].role"
    call = {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"}
    assert "No tool output found" in refusal(reference(SAID), call, USER).message
    assert not is_marked("msg_1_0")
