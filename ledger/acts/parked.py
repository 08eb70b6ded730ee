"""Owns the acts on events that could not be applied: applying one again, and dismissing it."""

import msgspec

from ledger.acts.base import Act
from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.rules.missing import missing
from ledger.rules.rows import Parked
from ledger.rules.settlement import problem, settle
from schemas.bus.usage import UsageEvent
from schemas.verbs.base import Rows
from schemas.verbs.parked import ParkedRef

# An event names no key: only its hold does.
NO_HOLD = (
    "its call has no hold in the books, so whose it was and at which price is not known: once its caller has named the "
    "request id, take what it owes by `tokn debit KEY USD --reason TEXT`, then --dismiss this"
)
_decode = msgspec.msgpack.Decoder(UsageEvent).decode


def read_event(row: Parked) -> UsageEvent | None:
    """The event of a parked row; None if it cannot be read."""
    try:
        return _decode(row.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _wants(names: Wanted, form: ParkedRef, _digest: str) -> None:
    names.parked = (form.request_id, form.attempt)
    names.request_ids.add(form.request_id)
    names.billed.add(form.request_id)


def _row(book: Book, form: ParkedRef) -> Parked | None:
    return book.put_aside.get((form.request_id, form.attempt))


def _missing(form: ParkedRef) -> Rows:
    return missing(f"parked event of attempt {form.attempt} of call {form.request_id}")


def _bill(book: Book, form: ParkedRef, _digest: str) -> Rows:
    row = _row(book, form)
    if row is None:
        return _missing(form)
    event = read_event(row)
    if event is None or (event.request_id, event.attempt) != (row.request_id, row.attempt):
        return Rows(problem="it cannot be read as an event of this call: nobody can be billed by it")
    if why := problem(event):
        return Rows(problem=f"{why}: nobody can be billed by it")
    hold = book.holds.get(row.request_id)
    if hold is None or not hold.key_id:
        return Rows(problem=NO_HOLD)
    effect = settle(book, event)
    book.put_aside.remove(row)
    return Rows(({"id": row.request_id, "attempt": row.attempt, "effect": effect},))


def _dismiss(book: Book, form: ParkedRef, _digest: str) -> Rows:
    row = _row(book, form)
    if row is None:
        return _missing(form)
    book.put_aside.remove(row)
    return Rows(({"id": row.request_id, "attempt": row.attempt, "effect": "dismissed"},))


PARKED_BILL = Act(name="parked_bill", form=ParkedRef, wants=_wants, do=_bill, scopes=("money:write",))
PARKED_DISMISS = Act(
    name="parked_dismiss", form=ParkedRef, wants=_wants, do=_dismiss, scopes=("money:write",)
)
