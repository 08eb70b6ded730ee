"""Owns the ends of months in the machine: what is due is issued, whatever the books have been through."""

from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, rule

from ledger.statements.issuing import Issuing
from ledger.statements.months import month_at
from tests.ledger.harness import Books, Clock
from tests.ledger.monthly import DELAY_S


class _AtOnce:
    """In place of a writer that runs."""

    def __init__(self, books: Books) -> None:
        self.committer = books.committer

    async def between(self, errand: Callable[[], Awaitable[Any]]) -> Any:
        """Does an errand now."""
        return await errand()


class MonthRules(RuleBasedStateMachine):
    """The rules; what else the machine has they take as it is."""

    books: Books
    clock: Any
    run: Callable[[Any], Any]
    issued_ms = 0  # no clock goes back behind a month that is issued

    @rule()
    def month_ends(self) -> None:
        """A month is over, and each organisation gets its statement, which every invariant then counts."""
        clock: Clock = self.clock
        self.issued_ms = month_at(clock.ms, "UTC").end_ms
        clock.ms = self.issued_ms + DELAY_S * 1000
        writer: Any = _AtOnce(self.books)
        self.run(Issuing(writer).step())
