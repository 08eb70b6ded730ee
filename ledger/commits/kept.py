"""Owns what a ledger keeps of one commit for the next: rows that calls come back to, where nobody else can have written.

Only a store that has one writer can say so: SQLite's. There the state of the database has a mark, which is another one
once anything was written beside, by this process or another. A commit takes what is kept only if the mark is that of the
end of the commit which kept it, and gives it back only once it is durable: a failure forgets everything.
"""

from collections.abc import Hashable
from typing import Any, Final

from msgspec.structs import replace

from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.rules.rows import Cap, HoldState

ROWS_MAX: Final = 50_000  # 20 to 45 MB, the more the more is limited; beyond it all is read anew
_KINDS: Final = ("holds", "secrets", "keys", "profiles", "accounts", "periods", "rates")
_NOTHING: Final = Wanted()


class Kept:
    """Rows as the database has them since the commit before. Nothing else refers to them between two commits."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[Hashable, Any]] = {name: {} for name in _KINDS}
        self._capped: dict[str, list[Cap]] = {}
        self._minutes: dict[str, Any] = {}
        self._mark: Hashable = None

    def lend(self, book: Book, names: Wanted, mark: Hashable) -> None:
        """Gives a book what is still so at its begin. Acts read all that they change: nothing of theirs is kept."""
        known, self._mark = self._mark, None
        if mark is None:
            return
        calls = of_calls(names)
        if known != mark or not calls or sum(map(len, self._rows.values())) > ROWS_MAX:
            for kept in self._rows.values():
                kept.clear()
            self._capped.clear()
            self._minutes.clear()
        if calls:
            for name in _KINDS:
                getattr(book, name).kept = self._rows[name]
            book.known_caps, book.known_minutes = self._capped, self._minutes

    def give_back(self, book: Book, mark: Hashable) -> None:
        """Keeps what a commit has loaded and written, now that it is durable. `mark` is that of its end."""
        if book.known_caps is not self._capped:  # it was lent nothing
            return
        for name in _KINDS:
            getattr(book, name).give_back()
        for hold in book.holds.values():
            if hold.state != HoldState.OPEN:  # nearly nothing comes back to one that has ended
                self._rows["holds"].pop(hold.request_id, None)
        for account_id in book.differences:
            self._rows["accounts"].pop(account_id, None)
        self._capped.update(book.capped)
        self._mark = mark


def of_calls(names: Wanted) -> bool:
    """Whether a batch wants only what calls and their ends do."""
    return names == replace(
        _NOTHING, request_ids=names.request_ids, billed=names.billed, digests=names.digests
    )
