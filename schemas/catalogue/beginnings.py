"""Owns finding the row of a table by how an id begins: the longest beginning that the table has."""

from collections.abc import Container


def longest(table: Container[str], name: str) -> str:
    """The longest of a table's beginnings that a name has; "" for none. Quicker than asking each of them."""
    for end in range(len(name), 0, -1):
        if name[:end] in table:
            return name[:end]
    return ""
