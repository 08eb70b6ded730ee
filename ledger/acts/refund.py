"""Owns the refund of a call: all or a part of its bill, several times, never more than it was billed."""

from ledger.acts import owners
from ledger.acts.base import Act, always
from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from ledger.rules.keys import balance_row
from ledger.rules.missing import missing
from ledger.rules.money import lots, posting
from ledger.rules.money.posting import Why, credit_row
from ledger.rules.rows import REVENUE, HoldState, Kind, UsageRow
from schemas.money.amounts import nano_to_usd
from schemas.verbs.base import Rows
from schemas.verbs.money import Refund

_BILL = 0  # the slot of a call's bill


def _wants(names: Wanted, form: Refund, _digest: str) -> None:
    names.request_ids.add(form.request_id)
    names.billed.add(form.request_id)
    names.calls.add(form.request_id)
    names.lots = True
    if form.reference:
        names.references.add(form.reference)


def _refund(book: Book, form: Refund, _digest: str) -> Rows:
    hold = book.holds.get(form.request_id)
    bill = book.usage.get((form.request_id, _BILL))
    if hold is None or not hold.key_id:
        return missing(f"call {form.request_id}")
    if hold.state == HoldState.OPEN:
        return Rows(problem=f"call {form.request_id} has not ended yet")
    if bill is None:
        return Rows(problem=f"call {form.request_id} was not billed")
    left_nano = bill.billed_nano - bill.refunded_nano
    amount_nano = form.amount_nano or left_nano
    why = Why(reason=form.reason, reference=form.reference)
    problem = _amount_problem(form.request_id, bill, amount_nano) or posting.why_problem(
        book, Kind.REFUND, why
    )
    if problem:
        return Rows(problem=problem)
    account = book.accounts[hold.account_id]
    if (
        hold.state == HoldState.ESTIMATED
    ):  # what it still reserves was for a later bill, and there is none any more
        book.set_held(hold, 0, HoldState.SETTLED)
    lots.refunded(book, account, bill, amount_nano)
    number = 1 + sum(1 for one in book.credits.values() if one.call == form.request_id)
    made = posting.post(
        book,
        account.id,
        amount_nano,
        kind=Kind.REFUND,
        other=REVENUE,
        why=why,
        transfer=form.request_id,
        number=number,
        call=form.request_id,
    )
    account.spent_nano -= amount_nano
    book.count(hold, spent_nano=-amount_nano)
    bill.refunded_nano += amount_nano
    bill.bill_final = True
    book.usage.touch(bill)
    return Rows(
        (
            balance_row(form.request_id, account)
            | {
                "account": account.id,
                "billed_nano": bill.billed_nano,
                "refunded_nano": bill.refunded_nano,
                "net_nano": bill.billed_nano - bill.refunded_nano,
                "credit": credit_row(made),
            },
        )
    )


def _amount_problem(request_id: str, bill: UsageRow, amount_nano: int) -> str:
    left_nano = bill.billed_nano - bill.refunded_nano
    if left_nano == 0:
        paid = "was refunded in full" if bill.refunded_nano else "cost nothing"
        return f"call {request_id} {paid}: there is nothing to refund"
    if not 0 < amount_nano <= left_nano:
        return f"refund_exceeds_charge: of call {request_id} at most {nano_to_usd(left_nano)} USD can be refunded"
    return ""


def _of(book: Book, form: Refund) -> tuple[str, ...]:
    hold = book.holds.get(form.request_id)
    return ("" if hold is None else owners.organization_of_key(book, hold.key_id),)


REFUND = Act(
    name=Kind.REFUND,
    form=Refund,
    wants=_wants,
    do=_refund,
    newer=always,
    scopes=("money:write",),
    of=_of,
)
