"""Owns the rows of one kind in one batch: those that were loaded, those that are new, those that have changed or go."""

from collections.abc import Callable, Hashable, Iterable, ValuesView
from functools import lru_cache
from operator import attrgetter
from typing import Any, Generic, TypeVar

from msgspec.structs import astuple

from ledger.rules.rows import Row

T = TypeVar("T", bound=Row)
K = TypeVar("K", bound=Hashable)


@lru_cache(maxsize=64)
def _getter_of(columns: tuple[str, ...]) -> Callable[[Row], Any]:
    return attrgetter(*columns)


@lru_cache(maxsize=64)
def _parameters_of(kind: type[Row]) -> Callable[[Row], tuple[Any, ...]]:
    # Of an update: the columns that may have changed, then the key.
    return attrgetter(*kind.changes(), *kind.KEY)


class RowSet(Generic[T]):
    """Rows by their key. Every object stands for its row until the commit, so a change is made to it and then told.

    `second` names another unique column to find a row by. A key of several columns is a tuple. `kept` are rows as the
    database has them, of an earlier commit.
    """

    __slots__ = ("_key", "_rows", "_second", "_second_of", "changed", "kept", "kind", "new", "removed")

    def __init__(self, kind: type[T], *, second: str = "") -> None:
        self.kind = kind
        self._key = _getter_of(kind.KEY)
        self._rows: dict[Hashable, T] = {}
        self._second_of = _getter_of((second,)) if second else None
        self._second: dict[Hashable, T] = {}
        self.new: dict[Hashable, T] = {}
        self.changed: dict[Hashable, T] = {}
        self.removed: dict[Hashable, T] = {}
        self.kept: dict[Hashable, T] | None = None

    def load(self, rows: Iterable[T]) -> None:
        """Takes rows as the database has them; those read last replace what was read before."""
        for row in rows:
            self._put(row)

    def recall(self, wanted: Iterable[K]) -> list[K]:
        """Takes those of some rows that are kept. Returns the keys of the others."""
        if not self.kept:
            return list(wanted)
        others = []
        for key in wanted:
            row = self.kept.get(key)
            if row is None:
                others.append(key)
            else:
                self._put(row)
        return others

    def give_back(self) -> None:
        """Keeps all rows as they are now, where that is asked for."""
        if self.kept is not None:
            self.kept.update(self._rows)

    def _put(self, row: T) -> Hashable:
        key: Hashable = self._key(row)
        self._rows[key] = row
        if self._second_of is not None:
            self._second[self._second_of(row)] = row
        return key

    def add(self, row: T) -> T:
        """Adds a row that is not in the database yet."""
        self.new[self._put(row)] = row
        return row

    def touch(self, row: T) -> None:
        """Marks a row as changed; a new one is written whole in any case."""
        key = self._key(row)
        if key not in self.new:
            self.changed[key] = row

    def remove(self, row: T) -> None:
        """Takes a row away that the database has; only few kinds of rows can go."""
        key = self._key(row)
        self.removed[key] = self._rows.pop(key)

    def rename(self, row: T, renamed: T) -> None:
        """Puts a row that has another key now in its place; the database has it under that key already."""
        del self._rows[self._key(row)]
        self._put(renamed)

    def inserts(self) -> list[tuple[Any, ...]]:
        """The new rows, as the table has their columns."""
        if not self.new:
            return []
        if self.kind.SORTED:
            return [astuple(row) for row in sorted(self.new.values(), key=self._key)]
        return [astuple(row) for row in self.new.values()]

    def updates(self) -> list[tuple[Any, ...]]:
        """The changed rows: their changed columns, then their key."""
        if not self.changed:
            return []
        values = _parameters_of(self.kind)
        return [values(row) for row in self.changed.values()]

    def get(self, key: Hashable) -> T | None:
        """A row by its key."""
        return self._rows.get(key)

    def find(self, value: Hashable) -> T | None:
        """A row by its second unique column."""
        return self._second.get(value)

    def values(self) -> ValuesView[T]:
        """All rows, in the order of their coming."""
        return self._rows.values()

    def __getitem__(self, key: Hashable) -> T:
        """A row that is known to be there."""
        return self._rows[key]

    def __contains__(self, key: Hashable) -> bool:
        """Whether there is a row of this key."""
        return key in self._rows
