"""Owns the end of promotional credit: what is left of it at its date goes back to us, but for what calls in flight hold."""

from ledger.acts.base import add_entry, changes, pictures
from ledger.commits.ledgers import admitted
from ledger.commits.load_act import load_act
from ledger.commits.load_save import load, save, wanted
from ledger.prices.offers import Catalogue
from ledger.rules.book import Book, Rules
from ledger.rules.money import lots, posting
from ledger.rules.rows import PROMOTIONS, Account, Kind
from ledger.rules.telling import tell_credit
from ledger.store.base import Store, Transaction
from schemas.verbs.acts import ActRequest
from schemas.verbs.base import VERSION, Rows

ACCOUNTS_MAX = 100  # in one commit
SYSTEM = "system"
LATE_MS = 7 * 86_400_000  # for so long after a lot's end it is looked whether a charge was taken back into it
# Lots whose date has come; and accounts that got back what a charge had taken of a lot whose date had come before. An index
# of these accounts would cost every call.
_DUE_SQL = """
    SELECT account_id FROM credits WHERE remaining_nano > 0 AND expires_ms > 0 AND expires_ms <= $1 AND account_id > $2
    UNION SELECT e.account_id FROM credits e JOIN accounts a ON a.id = e.account_id
        WHERE e.expires_ms > 0 AND e.expires_ms <= $1 AND e.expires_ms > $3 AND e.account_id > $2
        AND a.lots_nano > (SELECT COALESCE(SUM(c.remaining_nano), 0) FROM credits c
            WHERE c.account_id = a.id AND c.lot_nano > 0)
    ORDER BY 1 LIMIT $4
"""


async def expire_lots(store: Store, after: str = "") -> str:
    """Ends what is due on some accounts, in the order of their ids. Returns the last of them; "" if there are no more."""
    async with store.write() as tx:
        if not await admitted(tx):
            return ""
        due = [
            row[0] for row in await tx.fetch(_DUE_SQL, tx.now_ms, after, tx.now_ms - LATE_MS, ACCOUNTS_MAX)
        ]
        if due:
            await _expire(tx, due)
    return due[-1] if len(due) == ACCOUNTS_MAX else ""


async def _expire(tx: Transaction, account_ids: list[str]) -> None:
    book = Book(Catalogue(()), tx.now_ms, Rules())
    names = wanted()
    names.accounts.update(account_ids)
    names.lots = True
    await load(tx, book, names)
    await load_act(tx, book, names)
    book.actor = SYSTEM
    for account_id in account_ids:
        end_due(book, book.accounts[account_id])
    await save(tx, book, None)


def end_due(book: Book, account: Account) -> None:
    """Ends one account's lots whose date has come, as one act of the log."""
    before = pictures(book)
    ended_nano = 0
    for lot in lots.of(book, account):
        if 0 < lot.expires_ms <= book.now_ms:
            nano = min(lot.remaining_nano, account.available_nano - ended_nano)
            if nano > 0:
                lots.end(book, account, lot, nano)
                ended_nano += nano
    if not ended_nano:
        return
    tell_credit(book, posting.post(book, account.id, -ended_nano, kind=Kind.EXPIRY, other=PROMOTIONS))
    add_entry(
        book,
        action=Kind.EXPIRY,
        target=account.id,
        request=ActRequest(VERSION, Kind.EXPIRY, b"", actor=SYSTEM),
        changed=changes(book, before),
        answer=Rows(({"id": account.id, "amount_nano": -ended_nano},)),
    )
