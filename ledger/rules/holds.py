"""Owns what ends or carries on a hold other than a worker's event: release, reattempt, estimate, expiry."""

from decimal import Decimal

from msgspec import structs

from ledger.rules import limits
from ledger.rules.book import Book
from ledger.rules.rows import Hold, HoldState, UsageRow
from ledger.rules.settlement import (
    ATTEMPT_MAX,
    FORGIVEN,
    charge_call,
    estimate_event,
    estimated_cost,
    usage_row,
)
from ledger.rules.surprises import uplifts_of
from schemas.bus.usage import TOKENS_MAX, Outcome
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.verbs.base import Done
from schemas.verbs.calls import Estimate, Reattempt, Release

_BILL = 0
_OK = Done()


def _refused(hold: Hold | None, token: str) -> Done | None:
    if hold is None:
        return Done(ok=False, detail="there is no such hold")
    if hold.token != token:
        return Done(ok=False, detail="the token is not the hold's")
    return None


def _sane(usage: TokenUsage, attempt: int) -> bool:
    return 1 <= attempt <= ATTEMPT_MAX and all(0 <= tokens <= TOKENS_MAX for tokens in structs.astuple(usage))


def _charges(book: Book, hold: Hold, usage: TokenUsage) -> tuple[int, int]:
    terms = book.terms(hold)
    return book.catalogue.charges(terms.price_ref, usage, Decimal(terms.rate), uplifts_of(terms))


def release(book: Book, request: Release) -> Done:
    """Ends an open hold unused."""
    hold = book.holds.get(request.request_id)
    refused = _refused(hold, request.token)
    if refused is not None or hold is None:
        return refused or _OK
    if hold.state == HoldState.OPEN:
        book.set_held(hold, 0, HoldState.RELEASED)
        limits.give_back(book, hold, 0, NO_USAGE)
        return _OK
    return Done(ok=hold.state == HoldState.RELEASED, detail=hold.state)


def reattempt(book: Book, request: Reattempt) -> Done:
    """Makes another attempt the current one, of another candidate if it names one, and the one before it our cost."""
    hold = book.holds.get(request.request_id)
    refused = _refused(hold, request.token)
    if refused is not None or hold is None:
        return refused or _OK
    if hold.state != HoldState.OPEN:
        return Done(ok=False, detail=hold.state)
    if not _sane(request.replaced, request.attempt):
        return Done(ok=False, detail="a number is out of range")
    if request.attempt <= hold.attempt:
        return Done(ok=request.attempt == hold.attempt and hold.attempt > 1, detail="not a later attempt")
    if request.candidate and (hold.request_id, request.candidate) not in book.candidates:
        return Done(ok=False, detail="the hold has no such candidate")
    replaced = request.attempt - 1
    if (hold.request_id, replaced) not in book.usage:
        event = estimate_event(hold, request.replaced, replaced, Outcome.FAILED)
        _, at_list = _charges(book, hold, request.replaced)
        row = usage_row(book, hold, event, slot=replaced, list_nano=at_list)
        row.cost_final = False
        estimated_cost(book, hold, row, request.replaced, replaced)
        book.usage.add(row)
    hold.attempt = request.attempt
    book.choose(hold, request.candidate)
    hold.lease_ms = book.now_ms + book.rules.lease_ms
    book.holds.touch(hold)
    return _OK


def estimate(book: Book, request: Estimate) -> Done:
    """Settles the current attempt by the edge's estimate.

    The rest of the hold stays for a while for the worker's report. A failed call bills nothing, whatever is reported,
    and whichever comes first: an edge that never saw the end of an answer may learn only then that it was billed.
    """
    hold = book.holds.get(request.request_id)
    refused = _refused(hold, request.token)
    if refused is not None or hold is None:
        return refused or _OK
    if hold.state != HoldState.OPEN:
        bill = book.usage.get((hold.request_id, _BILL))
        if request.failed and bill is not None and bill.attempt == request.attempt:
            _forgive(book, hold, bill)
            return _OK
        ours = bill is not None and bill.attempt == request.attempt and not bill.cost_final
        return Done(ok=ours and hold.state != HoldState.EXPIRED, detail=hold.state)
    if not _sane(request.usage, request.attempt) or request.attempt < hold.attempt:
        return Done(ok=False, detail="not the current attempt")
    book.choose(hold, request.candidate)
    gave_way = (hold.request_id, request.attempt) in book.usage  # what it used is our cost already
    failed = request.failed or gave_way
    outcome = Outcome.FAILED if failed else Outcome.OK
    billed = NO_USAGE if failed else request.usage
    owed, at_list = _charges(book, hold, billed)
    event = structs.replace(
        estimate_event(hold, billed, request.attempt, outcome),
        first_byte_ms=request.first_byte_ms,
        duration_ms=request.duration_ms,
        finished_ms=book.now_ms,
    )
    row = usage_row(book, hold, event, slot=_BILL, list_nano=at_list)
    row.bill_final, row.cost_final = failed, gave_way
    _settle_estimate(book, hold, row, owed)
    hold.attempt = request.attempt
    if not gave_way:
        estimated_cost(book, hold, row, request.usage, request.attempt)
    book.usage.add(row)
    return _OK


def _settle_estimate(book: Book, hold: Hold, row: UsageRow, owed: int) -> None:
    paid = min(owed, hold.amount_nano)
    if row.bill_final:
        book.set_held(hold, 0, HoldState.SETTLED)
    else:
        hold.lease_ms = book.now_ms + book.rules.grace_ms
        book.set_held(hold, hold.amount_nano - paid, HoldState.ESTIMATED)
    limits.give_back(book, hold, paid, row.usage)
    charge_call(book, hold, row, owed_nano=owed, paid_nano=paid, line=0)


def _forgive(book: Book, hold: Hold, bill: UsageRow) -> None:
    """Takes back the bill of a call whose caller saw an error. What it cost us stays, and may still be corrected.

    A stream that failed after its first bytes is billed for them by its worker, though they may not have arrived.
    """
    left = bill.billed_nano - bill.refunded_nano + bill.uncollected_nano
    if bill.bill_final and bill.outcome == Outcome.FAILED and not left:
        return
    # What an operator has refunded stays refunded, once.
    refunded = bill.refunded_nano
    charge_call(book, hold, bill, owed_nano=refunded, paid_nano=refunded, line=FORGIVEN)
    bill.count(NO_USAGE)
    bill.outcome, bill.list_nano, bill.bill_final = str(Outcome.FAILED), 0, True
    book.usage.touch(bill)
    book.set_held(hold, 0, HoldState.SETTLED)


def expire(book: Book, hold: Hold) -> bool:
    """Ends a hold whose lease has run out. True if the call expired, False if an estimate's grace ended."""
    if hold.state == HoldState.ESTIMATED:
        book.set_held(hold, 0, HoldState.SETTLED)
        return False
    event = estimate_event(hold, NO_USAGE, hold.attempt, Outcome.EXPIRED)
    row = usage_row(book, hold, event, slot=_BILL, list_nano=0)
    row.bill_final = row.cost_final = False
    book.usage.add(row)
    book.set_held(hold, 0, HoldState.EXPIRED)
    limits.give_back(book, hold, 0, NO_USAGE)
    return True
