"""Owns lots: the parts of a balance that can expire or were given. Charges take them first, the soonest to expire first.

A charge only counts down the account's sum of lots, and notes its share on the bill. Which lot that came from is worked
out when the next act comes: until then no lot was added or has left, so the order of spending says it exactly.
What does not expire at all is spent last of the lots, and before deposits.
"""

from ledger.rules.act_rows import Credit
from ledger.rules.book import Book
from ledger.rules.rows import Account, UsageRow

LOTS_MAX = 10_000  # that an account may ever have: all of them are loaded where one is given back
FULL = f"a balance has at most {LOTS_MAX} lots"
_NEVER_MS = 2**63


def order(lot: Credit) -> tuple[int, int, str]:
    """The order in which lots are spent."""
    return lot.expires_ms or _NEVER_MS, lot.created_ms, lot.id


def charged(account: Account, bill: UsageRow, nano: int) -> None:
    """Counts a charge, or what is taken back of one, before the bill has it: lots pay first, and are paid back last."""
    if nano > 0:
        share = min(nano, account.lots_nano)
    elif bill.lots_nano:
        from_deposits = bill.billed_nano - bill.refunded_nano - bill.lots_nano
        share = min(nano + from_deposits, 0)
    else:
        return
    account.lots_nano -= share
    bill.lots_nano += share


def of(book: Book, account: Account) -> list[Credit]:
    """An account's lots in the order of spending, each with what is left of it now."""
    lots = sorted(
        (one for one in book.credits.values() if one.account_id == account.id and one.lot_nano), key=order
    )
    for lot, left_nano in settled(lots, account.lots_nano):
        if left_nano != lot.remaining_nano:
            lot.remaining_nano = left_nano
            book.credits.touch(lot)
    return lots


def settled(lots: list[Credit], sum_nano: int) -> list[tuple[Credit, int]]:
    """What is left of each lot, in the order of spending, where all together have so much left."""
    charged_nano = sum(lot.remaining_nano for lot in lots) - sum_nano
    left = {lot.id: lot.remaining_nano for lot in lots}
    for lot in lots:
        share = min(max(charged_nano, 0), left[lot.id])
        left[lot.id] -= share
        charged_nano -= share
    for lot in reversed(lots):  # charges were taken back
        share = min(max(-charged_nano, 0), lot.spent_nano)
        left[lot.id] += share
        charged_nano += share
    return [(lot, left[lot.id]) for lot in lots]


def take(book: Book, account: Account, nano: int) -> list[tuple[Credit, int]]:
    """Takes what leaves an account otherwise than by a charge: of deposits first, then of lots. Returns the lots' parts."""
    rest = nano - min(nano, account.posted_nano - account.lots_nano)
    parts = []
    for lot in of(book, account):
        share = min(rest, lot.remaining_nano)
        if share:
            end(book, account, lot, share)
            parts.append((lot, share))
            rest -= share
    return parts


def end(book: Book, account: Account, lot: Credit, nano: int) -> None:
    """Takes a part of one lot out of its account."""
    lot.remaining_nano -= nano
    lot.gone_nano += nano
    account.lots_nano -= nano
    book.credits.touch(lot)
    book.accounts.touch(account)


def refunded(book: Book, account: Account, bill: UsageRow, nano: int) -> None:
    """Gives a refund back to what paid, before the bill has it: to deposits first, then to the newest lot."""
    from_deposits = bill.billed_nano - bill.refunded_nano - bill.lots_nano
    share = max(nano - from_deposits, 0)
    bill.lots_nano -= share
    account.lots_nano += share
    of(book, account)


def count(book: Book, account: Account) -> int:
    """How many lots an account has with something in them."""
    return sum(1 for one in book.credits.values() if one.account_id == account.id and one.remaining_nano)


def room(book: Book, account: Account, more: int = 1) -> bool:
    """Whether an account may have so many lots more."""
    had = sum(1 for one in book.credits.values() if one.account_id == account.id and one.lot_nano)
    return had + more <= LOTS_MAX
