"""Owns the ledgers of the machine: two that take turns, one that forgets all it had in memory, and commits that fail."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ledger.commits import commit
from ledger.store.base import Store
from tests.ledger.harness import Books, Clock


class NotNow(Exception):  # noqa: N818  it says what is the case
    """Why a commit of the machine fails."""


class LedgerRules(RuleBasedStateMachine):
    """The rules; what else the machine has they take as it is."""

    stores: ClassVar[tuple[Store, Store]]
    clock: ClassVar[Clock]
    books: Books
    other: Books  # a ledger on the same database, whose turn it is not
    run: Callable[[Any], Any]
    fault: str = ""  # of the next commit: when it fails, before or after it has written

    @rule()
    def take_turns(self) -> None:
        """Another ledger does what comes next, with what it has had in memory since its last turn."""
        self.books, self.other = self.other, self.books

    @rule()
    def restart(self) -> None:
        """The ledger forgets what it had in memory."""
        self.books = Books(self.books.store, self.clock)

    @rule(fault=st.sampled_from(("before", "after")))
    def break_down(self, fault: str) -> None:
        """The next commit fails, and is made again."""
        self.fault = fault

    def fail(self, commands: list[Any], deliveries: list[Any]) -> None:
        """A commit that fails, if one is to: nothing has happened then."""
        fault, self.fault = self.fault, ""
        if not fault:
            return
        save = commit.save

        async def fails(*parts: Any) -> None:
            if fault == "after":
                await save(*parts)
            raise NotNow

        before = self.run(self.books.state())
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(commit, "save", fails)
            with pytest.raises(NotNow):
                self.run(self.books.commit(commands, deliveries))
        assert self.run(self.books.state()) == before
