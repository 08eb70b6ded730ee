"""Owns what a read through a console is, and how a page of rows is read: newest first, after a row of the same list."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from ledger.rules.grants import Grant
from ledger.rules.rows import Row, row_of
from ledger.store.base import Store
from ledger.store.statements import table_of
from ledger.verbs.base import Services
from schemas.admin.reads import PAGE_MAX
from schemas.admin.verbs import Question
from schemas.verbs.base import Form, Rows

_R = TypeVar("_R", bound=Row)
NO_SUCH_START = Rows(problem="starting_after: the list has no such id")


class Reading(Struct, Generic[Form], frozen=True, kw_only=True, eq=False):
    """How a ledger answers a question. `answer` is asked once the grant has the scope; it bounds itself to its organisation.

    `kind` is what `expand` can add to its rows, "" for nothing.
    """

    question: Question[Form]
    answer: Callable[[Services, Grant, Form], Awaitable[Rows]]
    kind: str = ""


class Where:
    """Conditions with their values, numbered in their order, as both databases want them."""

    def __init__(self) -> None:
        self._parts: list[str] = ["1 = 1"]
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        """One more condition, with `{}` where a value stands."""
        places = [f"${len(self.values) + at + 1}" for at in range(len(values))]
        self._parts.append(condition.format(*places))
        self.values += values

    @property
    def sql(self) -> str:
        """All of them together."""
        return " AND ".join(self._parts)


def size_of(limit: int) -> int:
    """How many rows a page has."""
    return min(max(limit, 1), PAGE_MAX)


def bound(grant: Grant, asked: str) -> str | None:
    """The organisation that a list is about: "" for all, None where it can have nothing."""
    if grant.organization and asked and asked != grant.organization:
        return None
    return grant.organization or asked


def selected(kind: type[Row], alias: str) -> str:
    """A kind's columns of a table under an alias."""
    return ", ".join(
        f"CAST({alias}.{name} AS text)" if name == "playground_credits_usd" else f"{alias}.{name}"
        for name in table_of(kind).columns
    )


async def newest(
    store: Store, kind: type[_R], where: Where, *, limit: int, after: str, by: str = "created_ms"
) -> tuple[list[_R], str] | Rows:
    """A page of rows with an `id`, by `by` and then by that, and the next page's `after`; the answer if it starts nowhere."""
    alias = "r"
    if after:
        rows = await store.fetch(
            f"SELECT r.{by} FROM {kind.TABLE} AS r WHERE {where.sql} AND r.id = ${len(where.values) + 1}",  # noqa: S608  made of our own words
            *where.values,
            after,
        )
        if not rows:
            return NO_SUCH_START
        where.add(f"(r.{by}, r.id) < ({{}}, {{}})", rows[0][0], after)
    size = size_of(limit)
    found = await store.fetch(
        f"SELECT {selected(kind, alias)} FROM {kind.TABLE} AS r WHERE {where.sql} "  # noqa: S608  as above
        f"ORDER BY r.{by} DESC, r.id DESC LIMIT {size + 1}",
        *where.values,
    )
    page = [row_of(kind, row) for row in found[:size]]
    return page, str(getattr(page[-1], "id")) if len(found) > size else ""  # noqa: B009  not every row has an id


async def one(store: Store, kind: type[_R], id_: str) -> _R | None:
    """A row by its id; None if there is none."""
    rows = await store.fetch(
        f"SELECT {selected(kind, 'r')} FROM {kind.TABLE} AS r WHERE r.id = $1",  # noqa: S608  as above
        id_,
    )
    return row_of(kind, rows[0]) if rows else None
