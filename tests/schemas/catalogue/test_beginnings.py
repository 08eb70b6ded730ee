"""Finding a row by how an id begins."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.catalogue.beginnings import longest

_words = st.text("ab-", max_size=6)


@given(st.sets(_words), _words)
def test_the_longest_beginning_is_found(table, name):
    """The same as asking each of a table's beginnings; an empty one is none."""
    assert longest(table, name) == max((one for one in table if name.startswith(one)), key=len, default="")
