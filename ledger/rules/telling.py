"""Owns what a commit tells: which events an act, a balance, a cap or a parked event makes. No I/O.

A rule only notes what has happened (`Book.tell`, `Book.noted`); whose it is, and the event's body, are made where rows are
saved, so that a commit that tells nothing pays nothing.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from ledger.rules.act_rows import Credit
from ledger.rules.book import Book, Told
from ledger.rules.keys import draws_on, key_row
from ledger.rules.money.posting import credit_row
from ledger.rules.organizations import organization_row
from ledger.rules.rows import Account, Key, Kind, Parked, Profile, Row, Status, wallet_id

ID_CHARS = 28
Were = Mapping[type[Row], Mapping[tuple[Any, ...], dict[str, Any]]]


class Whose(Struct, frozen=True):
    """Whose balance an account is: what stands after its kind, in the words of commands."""

    draws_on: str
    id: str


def whose(account_id: str) -> Whose:
    """Of a caller's account."""
    return Whose(draws_on(account_id), account_id.partition(":")[2])


def event_id(*parts: str) -> str:
    """The id of an event that may be told several times and is one."""
    return f"evt_{hashlib.sha256(':'.join(parts).encode()).hexdigest()[:ID_CHARS]}"


def tell_act(book: Book, were: Were) -> None:
    """What an act has changed, row by row: an act cannot forget to tell of it."""
    _tell_profiles(book, were.get(Profile, {}))
    _tell_keys(book, were.get(Key, {}))
    for credit in book.credits.new.values():
        tell_credit(book, credit)


def _tell_keys(book: Book, were: Mapping[tuple[Any, ...], dict[str, Any]]) -> None:
    rotated = {secret.key_id for secret in book.secrets.new.values()}
    for key in book.keys.new.values():
        tell_key(book, key, "key.created")
    for key in book.keys.changed.values():
        was = were.get((key.id,), {})
        if was == asdict(key):
            continue
        happened = "key.rotated" if key.id in rotated else "key.updated"
        if key.status != was.get("status"):
            happened = {Status.REVOKED: "key.revoked", Status.PAUSED: "key.paused"}.get(key.status, happened)
        tell_key(book, key, happened)


def tell_key(book: Book, key: Key, happened: str) -> None:
    """A key to which something has happened, if its account is loaded."""
    account = book.accounts.get(key.account_id)
    if account is not None:
        book.tell(Told(happened, key.id, key.profile, key_row(key, account, book.now_ms)))


def _tell_profiles(book: Book, were: Mapping[tuple[Any, ...], dict[str, Any]]) -> None:
    for profile in book.profiles.new.values():
        _tell_profile(book, profile, "organization.created")
    for profile in book.profiles.changed.values():
        was = were.get((profile.id,), {})
        now = asdict(profile)
        different = {name for name, value in now.items() if was.get(name) != value}
        if different <= {"playground_credits_usd"}:
            continue
        suspended = "status" in different and profile.status == Status.SUSPENDED
        _tell_profile(book, profile, "organization.suspended" if suspended else "organization.updated")


def _tell_profile(book: Book, profile: Profile, happened: str) -> None:
    wallet = book.accounts.get(wallet_id(profile.id))
    book.tell(Told(happened, profile.id, profile.id, organization_row(profile, wallet)))


def tell_credit(book: Book, credit: Credit, happened: str = "") -> None:
    """A credit to which something has happened; one that was made tells what it is for."""
    happened = happened or {Kind.REFUND: "call.refunded", Kind.EXPIRY: "credit.expired"}.get(
        credit.kind, "credit.created"
    )
    book.tell(Told(happened, credit.id, None, credit_row(credit), credit.account_id))


def balance_data(account: Account) -> dict[str, object]:
    """A balance as events show it."""
    owner = whose(account.id)
    return {
        "account": account.id,
        "draws_on": owner.draws_on,
        "id": owner.id,
        "posted_nano": account.posted_nano,
        "held_nano": account.held_nano,
        "available_nano": account.available_nano,
        "low_balance_nano": account.low_nano or None,
    }


def tell_balances(book: Book) -> None:
    """Balances that this commit has taken below what is low, or back."""
    for account_id, before_nano in book.low_before.items():
        account = book.accounts[account_id]
        was_low, is_low = before_nano < account.low_nano, account.posted_nano < account.low_nano
        if was_low != is_low:
            happened = "balance.low" if is_low else "balance.recovered"
            book.tell(Told(happened, account_id, None, balance_data(account), account_id))


def tell_parked(book: Book, parked: Parked) -> None:
    """An event that was put aside: the same one is told of once."""
    data = {"request_id": parked.request_id, "attempt": parked.attempt, "why": parked.reason}
    id_ = event_id("event.parked", parked.request_id, str(parked.attempt))
    book.tell(Told("event.parked", parked.request_id, "", data, id=id_))
