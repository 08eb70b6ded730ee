"""Owns whose balance an act on money is about: what it needs of the books to know, and what may be given there."""

from msgspec import Struct

from ledger.commits.wanted import Wanted
from ledger.rules.act_rows import Credit
from ledger.rules.book import Book
from ledger.rules.keys import add_wallet, balance_row
from ledger.rules.missing import missing
from ledger.rules.money.posting import credit_row
from ledger.rules.rows import Account, Status, playground_id
from schemas.verbs.base import Rows


class Owner(Struct, frozen=True, eq=False):
    """Whose balance it is: as it was named, the account, its organisation, and whether calls can spend it."""

    id: str
    account: Account
    organization: str
    playground: bool
    revoked: bool = False


def want(names: Wanted, owner: str) -> None:
    """Adds the rows that an owner stands for."""
    names.lots = True
    kind, _, id_ = owner.partition(":")
    if kind == "key":
        names.key_ids.add(id_)
    elif kind == "playground":
        names.profiles.add(id_)
    elif kind == "org":
        names.owners.add(id_)


def find(book: Book, owner: str) -> Owner | Rows:
    """An owner, or the answer when there is none."""
    kind, _, id_ = owner.partition(":")
    if kind == "key":
        key = book.keys.get(id_)
        if key is None:
            return missing(f"key {id_}")
        return Owner(
            id_, book.accounts[key.account_id], key.profile, key.playground, key.status == Status.REVOKED
        )
    if kind == "playground":
        if id_ not in book.profiles:
            return missing(f"profile {id_}")
        return Owner(id_, book.accounts[playground_id(id_)], id_, True)
    if kind != "org":
        return Rows(problem="name a key, a profile or an organisation")
    if id_ not in book.profiles:
        return missing(f"organisation {id_}")
    return Owner(id_, add_wallet(book, id_), id_, False)


def organization_of(book: Book, owner: str) -> str:
    """The organisation of an owner; "" if there is no such owner."""
    kind, _, id_ = owner.partition(":")
    return organization_of_key(book, id_) if kind == "key" else organization(book, id_)


def organization_of_key(book: Book, key_id: str) -> str:
    """The organisation of a key; "" if there is no such key."""
    key = book.keys.get(key_id)
    return "" if key is None else key.profile


def organization(book: Book, id_: str) -> str:
    """An organisation by its id; "" if there is none."""
    return id_ if id_ in book.profiles else ""


def receiving_problem(owner: Owner) -> str:
    """Why nothing may be given to an owner; empty if it may."""
    return f"key {owner.id} is revoked: nothing could be spent there" if owner.revoked else ""


def answer(owner: Owner, credit: Credit) -> Rows:
    """The balance after an act, and the credit that it made."""
    return Rows(
        (balance_row(owner.id, owner.account) | {"account": owner.account.id, "credit": credit_row(credit)},)
    )
