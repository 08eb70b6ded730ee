"""Owns settlement: what a usage event does to its hold, the caller's balance, and our own costs."""

from decimal import Decimal
from typing import Literal

import msgspec

from ledger.rules import limits, surprises
from ledger.rules.book import Book
from ledger.rules.limits import caps
from ledger.rules.money import lots
from ledger.rules.rows import (
    COST_OF_GOODS,
    REVENUE,
    UNALLOCATED,
    UNCOLLECTED,
    Hold,
    HoldState,
    Kind,
    Parked,
    Terms,
    UsageRow,
    tombstone,
    upstream_id,
)
from schemas.bus.subjects import is_token
from schemas.bus.usage import Known, Outcome, Try, UsageEvent, billed_uplifts, countable
from schemas.money.pricing import NO_USAGE, TokenUsage, charge

TRIES_MAX = 1_000
ATTEMPT_MAX = 2**31
MILLISECONDS_MAX = 2**53
NAME_CHARS_MAX = 200
_BILL = 0  # the slot of a call's only bill
_FIRST, _CORRECTION, FORGIVEN = 0, 1, 2  # lines of a charge
_LIST = Decimal(1)
_encode = msgspec.json.Encoder().encode
_encode_event = msgspec.msgpack.Encoder().encode

Settled = Literal["billed", "corrected", "cost", "duplicate", "parked"]


def problem(event: UsageEvent) -> str | None:
    """Why an event cannot be believed, or None. Nothing but this guards the books against a mad worker."""
    if not is_token(event.request_id):
        return "the request id is not one"
    if not 1 <= event.attempt <= ATTEMPT_MAX:
        return "the attempt is out of range"
    if event.outcome is Outcome.EXPIRED:
        return "only the ledger says that a call has expired"
    if len(event.tries) > TRIES_MAX:
        return "there are too many tries"
    if not countable(event):
        return "a number of tokens is out of range"
    for name in (event.pool, event.provider, *[one.account for one in event.tries]):
        if len(name) > NAME_CHARS_MAX or "\x00" in name:
            return "a name is not one"
    times = (event.queued_ms, event.first_byte_ms, event.duration_ms, event.finished_ms)
    if min(times) < -MILLISECONDS_MAX or max(times) > MILLISECONDS_MAX:
        return "a time is out of range"
    return None


def settle(book: Book, event: UsageEvent) -> Settled:
    """Applies one event. The same event again changes nothing, in any order with others, for ever."""
    hold = book.holds.get(event.request_id)
    if hold is None or not hold.key_id:
        return _orphan(book, event, hold)
    settled = _apply(book, hold, event)
    if settled != "duplicate":  # an operator may have forgotten what the first one told
        surprises.note(book, hold, event)
    return settled


def _apply(book: Book, hold: Hold, event: UsageEvent) -> Settled:
    if (event.request_id, event.attempt) in book.usage:
        return _our_cost(book, hold, event)  # replaced, or given way: that attempt bills nobody any more
    if hold.state == HoldState.OPEN:
        if event.attempt < hold.attempt or (event.gives_way and hold.candidate):
            return _our_cost(book, hold, event)
        return _bill(book, hold, event)
    bill = book.usage.get((event.request_id, _BILL))
    if bill is None or not _is_of(hold, bill, event):
        return _our_cost(book, hold, event)
    if bill.cost_final:
        return "duplicate"
    return _correct(book, hold, bill, event)


def _is_of(hold: Hold, bill: UsageRow, event: UsageEvent) -> bool:
    # A later attempt may bill an expired call: the ledger does not hear of attempts after a bounce.
    return event.attempt == bill.attempt or (hold.state == HoldState.EXPIRED and event.attempt > bill.attempt)


def _charges(book: Book, hold: Hold, event: UsageEvent) -> tuple[int, int]:
    # At the price and rate that the hold pinned for what served: what the caller owes, and list price.
    terms = book.terms(hold, event.candidate)
    uplifts = billed_uplifts(event, surprises.uplifts_of(terms)) if event.tier_unsaid else event.uplifts
    return book.catalogue.charges(terms.price_ref, event.usage, Decimal(terms.rate), uplifts)


def _bill(book: Book, hold: Hold, event: UsageEvent) -> Settled:
    owed, at_list = _charges(book, hold, event)
    row = usage_row(book, hold, event, slot=_BILL, list_nano=at_list)
    charge_call(book, hold, row, owed_nano=owed, paid_nano=min(owed, hold.amount_nano), line=_FIRST)
    hold.attempt = event.attempt
    book.choose(hold, event.candidate)
    book.set_held(hold, 0, HoldState.SETTLED)
    limits.give_back(book, hold, row.billed_nano, event.usage)
    row.cost_nano = _book_tries(book, event, hold, at_list)
    book.usage.add(row)
    return "billed"


def charge_call(book: Book, hold: Hold, row: UsageRow, *, owed_nano: int, paid_nano: int, line: int) -> None:
    """Moves what a call's bill lacks: `paid_nano` in all by the caller, the rest of what is owed uncollected."""
    rest = owed_nano - paid_nano
    account = book.accounts[hold.account_id]
    account.spent_nano += paid_nano - row.billed_nano  # told to the book by the move
    lots.charged(account, row, paid_nano - row.billed_nano)
    book.count(hold, spent_nano=paid_nano - row.billed_nano)
    for kind, source, difference in (
        (Kind.CHARGE, hold.account_id, paid_nano - row.billed_nano),
        (Kind.UNCOLLECTED, UNCOLLECTED, rest - row.uncollected_nano),
    ):
        if not difference:
            continue
        book.move(
            difference,
            debit=source,
            credit=REVENUE,
            request_id=hold.request_id,
            kind=kind,
            attempt=row.attempt,
            line=line,
        )
    row.billed_nano, row.uncollected_nano = paid_nano, rest


def _correct(book: Book, hold: Hold, bill: UsageRow, event: UsageEvent) -> Settled:
    """A report for a call that was estimated or has expired."""
    owed, at_list = _charges(book, hold, event)
    _take_back_estimate(book, bill)
    bill.attempt = event.attempt
    bill.cost_nano = _book_tries(book, event, hold, at_list)
    bill.cost_final = True
    bill.tries = _encode(event.tries).decode()
    if not bill.bill_final:
        paid = min(owed, hold.amount_nano)
        if paid > bill.billed_nano:
            # What this hold still reserves is for this very charge.
            free_nano = caps.free_nano(book, hold, book.accounts[hold.account_id])
            paid = min(paid, bill.billed_nano + hold.held_nano + free_nano)
        _fill(bill, event, at_list)
        book.choose(hold, event.candidate)
        terms = book.terms(hold)
        bill.model, bill.provider, bill.pool = terms.model, terms.provider, terms.pool
        # The hold goes first, so that what it reserved is there to be charged.
        book.set_held(hold, 0, HoldState.SETTLED)
        charge_call(book, hold, bill, owed_nano=owed, paid_nano=paid, line=_CORRECTION)
        bill.bill_final = True
    book.usage.touch(bill)
    return "corrected"


def _fill(row: UsageRow, event: UsageEvent, list_nano: int) -> None:
    row.count(event.usage)
    row.outcome, row.known = str(event.outcome), str(event.known)
    row.uplifts = _encode(event.uplifts).decode()
    row.list_nano = list_nano
    row.queued_ms, row.first_byte_ms = event.queued_ms, event.first_byte_ms
    row.duration_ms, row.finished_ms = event.duration_ms, event.finished_ms


def _our_cost(book: Book, hold: Hold, event: UsageEvent) -> Settled:
    """An attempt that does not bill: replaced, given way to the next candidate, or its hold was released."""
    _, at_list = _charges(book, hold, event)
    row = book.usage.get((event.request_id, event.attempt))
    if row is not None:
        if row.cost_final:
            return "duplicate"
        _take_back_estimate(book, row)
        _fill(row, event, at_list)
        row.tries = _encode(event.tries).decode()
        row.cost_final = True
        book.usage.touch(row)
    else:
        row = usage_row(book, hold, event, slot=event.attempt, list_nano=at_list)
        book.usage.add(row)
    row.cost_nano = _book_tries(book, event, hold, at_list)
    return "cost"


def _orphan(book: Book, event: UsageEvent, stone: Hold | None) -> Settled:
    """An event whose hold is not in the books: they were restored from a backup. Our cost, and parked for a person.

    A released hold without a key takes the request id for good, so that no later hold meets rows of this event.
    """
    if stone is None:
        book.holds.add(tombstone(event, book.now_ms))
    if (event.request_id, event.attempt) in book.usage:
        return "duplicate"
    row = usage_row(book, None, event, slot=event.attempt, list_nano=0)
    row.cost_nano = _book_tries(book, event, None, 0)
    book.usage.add(row)
    book.parked.append(
        Parked(
            request_id=event.request_id,
            attempt=event.attempt,
            reason="no hold with this request id",
            payload=_encode_event(event),
            created_ms=book.now_ms,
        )
    )
    return "parked"


def usage_row(book: Book, hold: Hold | None, event: UsageEvent, *, slot: int, list_nano: int) -> UsageRow:
    """A row for an event, with no money moved yet."""
    usage = event.usage
    terms = None if hold is None else book.terms(hold, event.candidate)
    return UsageRow(
        request_id=event.request_id,
        slot=slot,
        attempt=event.attempt,
        key_id=hold.key_id if hold is not None else "",
        model=terms.model if terms is not None else "",
        provider=terms.provider if terms is not None else event.provider,
        pool=terms.pool if terms is not None else event.pool,
        outcome=str(event.outcome),
        known=str(event.known),
        bill_final=True,
        cost_final=True,
        input=usage.input,
        cached=usage.cached,
        cache_write=usage.cache_write,
        cache_write_1h=usage.cache_write_long,
        input_audio=usage.input_audio,
        output=usage.output,
        reasoning=usage.reasoning,
        output_audio=usage.output_audio,
        uplifts=_encode(event.uplifts).decode() if event.uplifts else "[]",
        list_nano=list_nano,
        billed_nano=0,
        uncollected_nano=0,
        cost_nano=0,
        tries=_encode(event.tries).decode(),
        queued_ms=event.queued_ms,
        first_byte_ms=event.first_byte_ms,
        duration_ms=event.duration_ms,
        finished_ms=event.finished_ms,
        created_ms=book.now_ms,
        cached_audio=usage.cached_audio,
    )


def _book_tries(book: Book, event: UsageEvent, hold: Hold | None, at_list: int) -> int:
    """Takes each try off its upstream account's credit at list price. Returns the sum."""
    total = 0
    terms = None if hold is None else book.terms(hold, event.candidate)
    for line, one in enumerate(event.tries):
        if (
            terms is not None
            and one.upstream == terms.upstream
            and one.usage == event.usage
            and one.uplifts == event.uplifts
        ):
            cost = at_list  # the usual case: the one try is the call
        else:
            cost = _try_cost(book, event, terms, one)
        total += cost
        book.move(
            cost,
            debit=upstream_id(event.pool, one.account),
            credit=COST_OF_GOODS,
            request_id=event.request_id,
            kind=Kind.COST,
            attempt=event.attempt,
            line=line,
        )
    return total


def _try_cost(book: Book, event: UsageEvent, terms: Terms | None, one: Try) -> int:
    catalogue = book.catalogue
    if terms is not None and one.upstream == terms.upstream:
        return catalogue.charges(terms.price_ref, one.usage, _LIST, one.uplifts)[1]
    price = catalogue.upstream_price(event.provider, one.upstream, book.now_ms)
    if price is not None:
        return 0 if one.usage == NO_USAGE else charge(one.usage, price, _LIST, one.uplifts)
    if terms is not None:
        return catalogue.charges(terms.price_ref, one.usage, _LIST, one.uplifts)[1]
    return 0


def estimated_cost(book: Book, hold: Hold, row: UsageRow, usage: TokenUsage, attempt: int) -> None:
    """Books an attempt's cost by an estimate, since nobody has said which upstream account it went to."""
    terms = book.terms(hold)
    row.cost_nano = book.catalogue.charges(terms.price_ref, usage, _LIST, surprises.uplifts_of(terms))[1]
    book.move(
        row.cost_nano,
        debit=UNALLOCATED,
        credit=COST_OF_GOODS,
        request_id=hold.request_id,
        kind=Kind.COST_ESTIMATE,
        attempt=attempt,
        line=_FIRST,
    )


def _take_back_estimate(book: Book, row: UsageRow) -> None:
    book.move(
        -row.cost_nano,
        debit=UNALLOCATED,
        credit=COST_OF_GOODS,
        request_id=row.request_id,
        kind=Kind.COST_ESTIMATE,
        attempt=row.attempt,
        line=_CORRECTION,
    )


def estimate_event(hold: Hold, usage: TokenUsage, attempt: int, outcome: Outcome) -> UsageEvent:
    """What an edge estimates, in the form of an event without tries."""
    return UsageEvent(
        request_id=hold.request_id,
        attempt=attempt,
        worker_id="",
        pool=hold.pool,
        provider=hold.provider,
        outcome=outcome,
        known=Known.ESTIMATED,
        usage=usage,
        candidate=hold.candidate,
    )
