"""Tool-call ids: each is sent once, and every result follows its own call."""

from hypothesis import given
from hypothesis import strategies as st

from workers.providers.call_ids import ID_CHARS_MAX, CallIds


def test_ids_of_each_turn_are_numbered() -> None:
    """An id that each turn has anew is its own in the first and numbered later; results follow."""
    ids = CallIds(str)
    for wanted in ("call_0", "call_0_2", "call_0_3"):
        assert ids.call("call_0") == wanted
        assert ids.result("call_0") == wanted


def test_calls_alike_in_one_turn() -> None:
    """Of calls alike the first result belongs to the first call."""
    ids = CallIds(str)
    sent = [ids.call("f"), ids.call("f")]
    assert len(set(sent)) == 2
    assert [ids.result("f"), ids.result("f")] == sent


def test_a_call_without_its_result_takes_none_of_a_later_turn() -> None:
    """What an earlier turn left open stays open."""
    ids = CallIds(str)
    ids.call("f")
    ids.call("g")
    ids.result("g")
    again = ids.call("f")
    assert ids.result("f") == again


def test_an_id_that_looks_numbered_is_still_unique() -> None:
    """A caller's own `f_2` beside two calls `f` is not one of them."""
    ids = CallIds(str)
    assert len({ids.call("f"), ids.call("f"), ids.call("f_2"), ids.call("f_2"), ids.call("f")}) == 5


@given(st.lists(st.text("ab:", min_size=1, max_size=70), max_size=60))
def test_any_ids(names: list[str]) -> None:
    """Ids are unique and short enough, the same history gives the same ones, and results find their call."""
    first, second = CallIds(lambda name: name[:ID_CHARS_MAX]), CallIds(lambda name: name[:ID_CHARS_MAX])
    sent = []
    for name in names:
        sent.append(first.call(name))
        assert first.result(name) == sent[-1]
    assert len(set(sent)) == len(sent)
    assert all(len(name) <= ID_CHARS_MAX for name in sent)
    assert [second.call(name) for name in names] == sent
