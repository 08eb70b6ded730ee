"""Owns the seam to a database: the few primitives that SQLite and PostgreSQL both give, under one behaviour."""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Protocol, TypeVar

from ledger.store.statements import Table, Update

ATTEMPTS_MAX = 5  # of one transaction, at conflicts with other ledgers
Row = Sequence[Any]
_T = TypeVar("_T")


class StoreError(Exception):
    """The database did not do what was asked; the transaction changed nothing."""


class StoreRefused(StoreError):  # noqa: N818  as StoreDown
    """The database works, and will not take these values, now or later."""


class StoreDown(StoreError):  # noqa: N818  the name says what is the case
    """The database cannot be reached or is busy. The same again may work later."""


class StoreConflict(StoreError):  # noqa: N818  as StoreDown
    """Another ledger was there first (a lock, or the same row). The same again at once may work."""


def is_at_fault(error: BaseException) -> bool:
    """Whether something failed for reasons of the database, so that the same may go well later."""
    return isinstance(error, StoreError) and not isinstance(error, StoreConflict | StoreRefused)


async def again(work: Callable[[], Awaitable[_T]], conflict: Callable[[], None] = lambda: None) -> _T:
    """What a transaction gives, begun again at each conflict with another ledger. Raises what the last attempt raised."""
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return await work()
        except StoreConflict:
            conflict()
    return await work()


class DriverErrors:
    """A driver's errors as the seam has them. It keeps nothing, so one serves all: each statement of a call enters it."""

    __slots__ = ("_seen_as",)

    def __init__(self, seen_as: Callable[[BaseException], StoreError | None]) -> None:
        self._seen_as = seen_as

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and (seen := self._seen_as(error)) is not None:
            raise seen from error


class Reader(Protocol):
    """Reads. In SQL, parameters are $1, $2, … on both databases, each used in the order of its number."""

    dialect: str
    among: ClassVar[str]  # SQL after a text column: whether it is in the array $1

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Row]:
        """All rows."""
        ...

    def array(self, values: Iterable[str]) -> Any:
        """Texts as one parameter, for `among`."""
        ...


class Transaction(Reader, Protocol):
    """One transaction that writes."""

    now_ms: int  # the database's clock at the transaction's start
    locked: ClassVar[str]  # SQL at the end of a query: lock its rows
    locked_free: ClassVar[
        str
    ]  # SQL at the end of a query: lock its rows, leaving out those that others have locked

    @property
    def mark(self) -> Hashable:
        """What the database is now: another one once anything was written. None where others may write beside this."""
        ...

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Inserts rows in one go."""
        ...

    async def update(self, update: Update, rows: Sequence[Row]) -> None:
        """Updates rows in one go. Each has the set columns first, then the key columns."""
        ...

    async def update_all(self, changes: Sequence[tuple[Update, Sequence[Row]]]) -> None:
        """Updates rows of several kinds, each as `update` does, in one go. They are locked already; a kind comes once."""
        ...

    async def execute(self, sql: str, *parameters: Any, timeout_s: float | None = None) -> None:
        """Runs one statement, in the time that all have or in another."""
        ...


class Store(Reader, Protocol):
    """A database with the tables of the books."""

    connected_since: float  # time.monotonic() of the connection that writes

    def write(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction: commits at the end of its block, rolls back if it raises.

        Raises StoreDown, StoreConflict, StoreRefused, StoreError. After StoreDown it may have been committed all the same.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Reader]:
        """A consistent view that never holds up a writer."""
        ...

    def now_ms(self) -> int:
        """The database's clock, for reads: as far from this machine's as it was at the last transaction."""
        ...

    async def moment(self) -> tuple[int, int]:
        """A moment after all that is committed so far: by the clock of the books, and by the database's own. Raises StoreDown."""
        ...

    async def passed(self, clock_ms: int) -> bool:
        """Whether all that had begun before a moment of the database's own clock has ended, and nothing else can. Raises StoreDown."""
        ...

    async def migrate(self) -> None:
        """Takes the tables to the newest revision; several ledgers may do so at once."""
        ...

    async def close(self) -> None:
        """Ends all connections."""
        ...
