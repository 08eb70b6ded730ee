"""Owns what every act on money does: a transfer between an account and one of ours, and the credit that tells of it."""

from msgspec import Struct

from ledger.rules.act_rows import Credit
from ledger.rules.book import Book
from ledger.rules.missing import Told
from ledger.rules.money import lots
from ledger.rules.rows import DEPOSITS, Account, Kind
from schemas.admin.reasons import Reason
from schemas.bus.subjects import new_id
from schemas.money.amounts import NANO_MAX, nano_to_usd

DEPOSITS_MAX_NANO = NANO_MAX // 2  # all together: beyond it sums of nano-dollars would not fit their columns
AMOUNT_MAX_NANO = NANO_MAX // 4
FULL = "all deposits together are at most 4 billion USD"
REASON_CHARS_MAX = 500
REFERENCE_CHARS_MAX = 200


class Why(Struct, frozen=True, kw_only=True):
    """What an operator says of an act on money."""

    reason: str = ""
    reference: str = ""


def amount_problem(amount_nano: int) -> str:
    """Why an amount cannot be given or taken; empty if it can."""
    if not 0 < amount_nano <= AMOUNT_MAX_NANO:
        return "the amount must be more than 0, and at most 2 billion USD"
    return ""


def why_problem(book: Book, kind: str, why: Why, *, needed: bool = False) -> str:
    """Why a reason and a reference cannot stand; empty if they can."""
    if len(why.reason) > REASON_CHARS_MAX or "\x00" in why.reason:
        return f"a reason has at most {REASON_CHARS_MAX} characters"
    if len(why.reference) > REFERENCE_CHARS_MAX or "\x00" in why.reference:
        return f"a reference has at most {REFERENCE_CHARS_MAX} characters"
    if needed and not why.reason.strip():
        return f"a reason is needed for kind {kind}"
    taken = why.reference != "" and any(
        one.kind == kind and one.reference == why.reference for one in book.credits.values()
    )
    said = f"reference {why.reference} was used by a {kind} before"
    return Told(said, Reason.REFERENCE_USED) if taken else ""


def too_much(book: Book, amount_nano: int) -> bool:
    """Whether callers would be given more than sums of nano-dollars can hold."""
    return book.deposited_nano + amount_nano > DEPOSITS_MAX_NANO


def short(account: Account, what: str, amount_nano: int, most_nano: int) -> str:
    """The answer when more is asked for than there is."""
    held = f", {nano_to_usd(account.held_nano)} USD is held by calls in flight" if account.held_nano else ""
    said = f"{nano_to_usd(amount_nano)} USD is more than the {nano_to_usd(max(most_nano, 0))} USD that {what}{held}"
    return Told(said, Reason.INSUFFICIENT_AVAILABLE)


def post(
    book: Book,
    account_id: str,
    amount_nano: int,
    *,
    kind: str,
    other: str,
    why: Why = Why(),  # noqa: B008  frozen
    transfer: str = "",
    number: int = 0,
    call: str = "",
    expires_ms: int = 0,
    lot_nano: int = 0,
) -> Credit:
    """Moves money from `other` to an account, or with a negative amount back, and adds the credit.

    A transfer without a request id takes the credit's. Of the amount `lot_nano` is a lot, until `expires_ms`.
    """
    id_ = transfer if transfer and not call else new_id("crd_")
    book.move(
        amount_nano,
        debit=other,
        credit=account_id,
        request_id=transfer or id_,
        kind=kind,
        attempt=number,
    )
    return note(
        book,
        account_id,
        amount_nano,
        id_=id_,
        kind=kind,
        why=why,
        transfer=transfer or id_,
        number=number,
        call=call,
        expires_ms=expires_ms,
        lot_nano=lot_nano,
    )


def note(
    book: Book,
    account_id: str,
    amount_nano: int,
    *,
    id_: str,
    kind: str,
    why: Why,
    transfer: str,
    number: int = 0,
    call: str = "",
    expires_ms: int = 0,
    lot_nano: int = 0,
) -> Credit:
    """Adds a credit whose transfer is made elsewhere."""
    if lot_nano:
        account = book.accounts[account_id]
        lots.of(book, account)  # what was charged before is not of the new lot
        account.lots_nano += lot_nano
        book.accounts.touch(account)
    return book.credits.add(
        Credit(
            id=id_,
            kind=kind,
            account_id=account_id,
            amount_nano=amount_nano,
            transfer=transfer,
            number=number,
            reason=why.reason,
            reference=why.reference,
            call=call,
            actor=book.actor,
            expires_ms=expires_ms,
            lot_nano=lot_nano,
            remaining_nano=lot_nano,
            created_ms=book.now_ms,
        )
    )


def deposit(book: Book, account_id: str, amount_nano: int, transfer: str, why: Why = Why()) -> None:  # noqa: B008  frozen
    """Adds a deposit, if it is one."""
    if amount_nano:
        post(book, account_id, amount_nano, kind=Kind.DEPOSIT, other=DEPOSITS, transfer=transfer, why=why)


def credit_row(one: Credit) -> dict[str, object]:
    """A credit as commands show it."""
    return {
        "id": one.id,
        "kind": one.kind,
        "amount_nano": one.amount_nano,
        "account": one.account_id,
        "reason": one.reason,
        "reference": one.reference or None,
        "call": one.call or None,
        "expires": one.expires_ms // 1000 or None,
        "remaining_nano": one.remaining_nano if one.lot_nano else None,
        "actor": one.actor,
        "transfer": one.transfer,
        "created": one.created_ms // 1000,
        **owner_of(one.account_id),
        "expires_at": one.expires_ms // 1000 or None,
    }


def owner_of(account_id: str) -> dict[str, str | None]:
    """Whose balance an account is: a key's own, or an organisation's wallet or playground credits; or ours."""
    kind, _, id_ = account_id.partition(":")
    return {
        "key": id_ if kind == "key" else None,
        "organization": id_ if kind in ("org", "playground") else None,
    }
