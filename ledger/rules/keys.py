"""Owns what commands change about keys: their making with a first balance, and revocation."""

from collections.abc import Iterable

import msgspec

from ledger.rules import capping, labels
from ledger.rules.book import Book
from ledger.rules.limits import setting
from ledger.rules.limits.base import key_scope
from ledger.rules.missing import missing_key
from ledger.rules.money import posting
from ledger.rules.rows import (
    Account,
    Key,
    KeySecret,
    Profile,
    Status,
    metered_id,
    playground_id,
    wallet_id,
)
from ledger.rules.secrets import add_secret, live, secret_row, shown_secrets
from ledger.rules.standing import names_of, status_of
from schemas.catalogue import allowed
from schemas.money.amounts import NANO_MAX
from schemas.verbs.base import Rows
from schemas.verbs.keys import KeyCreate, KeyRef, KeyUpdate

DEFAULT_PROFILE = "default"
NAME_CHARS_MAX = 200
TIME_MAX_MS = 253_402_300_799_000  # the end of the year 9999
_encode = msgspec.json.Encoder().encode


def names_column(names: tuple[str, ...] | None) -> str:
    """A list of names as its column has it; None is all."""
    return "" if names is None else _encode(names).decode()


def seconds(unix_ms: int) -> int | None:
    """A moment as commands show it; None for never."""
    return unix_ms // 1000 if unix_ms else None


def draws_on(account_id: str) -> str:
    """Whose balance an account is, in the words of commands."""
    return {"playground": "playground", "org": "organization"}.get(account_id.partition(":")[0], "key")


def key_row(
    key: Key, account: Account, now_ms: int, secrets: Iterable[KeySecret] | None = None
) -> dict[str, object]:
    """A key as commands show it; with its secrets that are not over, if they are told."""
    row: dict[str, object] = {
        "id": key.id,
        "name": key.name,
        "profile": key.profile,
        "providers": names_of(key.providers),
        "status": status_of(key, now_ms),
        "playground": bool(key.playground),
        "posted_nano": account.posted_nano,
        "created": key.created_ms // 1000,
        "organization": key.profile,
        "draws_on": draws_on(key.account_id),
        "models": names_of(key.models),
        "expires_at": seconds(key.expires_ms),
        "revoked_at": seconds(key.revoked_ms),
        "version": key.version,
        "limits": setting.figures(key),
        "balance": balance(account),
        "metadata": labels.read(key.labels),
        "low_balance_nano": (account.low_nano or None) if draws_on(key.account_id) == "key" else None,
    }
    if secrets is not None:
        shown = [one for one in secrets if live(one, now_ms)]
        row["secrets"] = [secret_row(one) for one in sorted(shown, key=lambda one: (one.created_ms, one.id))]
    return row


def balance(account: Account) -> dict[str, int]:
    """What an account has, holds and has spent."""
    return {
        "posted_nano": account.posted_nano,
        "held_nano": account.held_nano,
        "available_nano": account.available_nano,
        "spent_nano": account.spent_nano,
    }


def balance_row(id_: str, account: Account) -> dict[str, object]:
    """A balance as commands show it."""
    return {
        "id": id_,
        "posted_nano": account.posted_nano,
        "held_nano": account.held_nano,
        "available_nano": account.available_nano,
    }


def key_id_of(digest: str) -> str:
    """A key's public id: from its stored hash, so that making the same key twice makes one."""
    return f"key_{digest[:16]}"


def name_problem(*names: str) -> str:
    """Why something cannot be called so; empty if it can."""
    if any(len(name) > NAME_CHARS_MAX or "\x00" in name for name in names):
        return f"names have at most {NAME_CHARS_MAX} characters"
    return ""


def create_problem(request: KeyCreate, now_ms: int) -> str:
    """Why a key cannot be made as asked; empty if it can."""
    if len(request.digest) != 32:
        return "the digest is not a SHA-256"
    if not 0 <= request.posted_nano <= NANO_MAX // 4:
        return "the balance must not be negative, or beyond 2 billion USD"
    if request.wallet and request.playground:
        return "a key draws on playground credits or on its organisation's wallet, not on both"
    if request.low_balance_nano and (request.wallet or request.playground):
        return "a key without a balance of its own cannot have a low one"
    if request.posted_nano and request.wallet:
        return (
            "a key that draws on its organisation's wallet has no balance of its own: credit the organisation"
        )
    if len({one.period for one in request.caps}) < len(request.caps):
        return "a key has one cap a period"
    return (
        name_problem(request.name, request.profile)
        or expiry_problem(ending_ms(request, now_ms) or 0, now_ms)
        or setting.problem_of(request.rpm, request.tpm, request.in_flight)
        or labels.problem(request.labels)
        or low_problem(request.low_balance_nano)
        or allowed.problem(request.models or ())
        or next(filter(None, map(capping.problem_of, request.caps)), "")
    )


def ending_ms(request: KeyCreate | KeyUpdate, now_ms: int) -> int | None:
    """The moment at which a key is to end, 0 for never, None where there is no word of it."""
    return now_ms + request.expires_in_s * 1000 if request.expires_in_s else request.expires_ms


def expiry_problem(expires_ms: int, now_ms: int) -> str:
    """Why a key cannot end at a moment; empty if it can. 0 is for never."""
    if expires_ms and not now_ms < expires_ms <= TIME_MAX_MS:
        return "the moment at which the key expires must lie ahead"
    return ""


def low_problem(low_nano: int | None) -> str:
    """Why a balance cannot be low below an amount; empty if it can. 0 is for no such amount, None for no word of it."""
    if not 0 <= (low_nano or 0) <= NANO_MAX // 4:
        return "a low balance must not be negative, or beyond 2 billion USD"
    return ""


def key_create(book: Book, request: KeyCreate, digest: str) -> Rows:
    """Makes a key and its accounts. The same key again is the same key: nothing is credited twice."""
    existing = book.key_of(digest)
    if existing is not None:
        return Rows((key_row(existing, book.accounts[existing.account_id], book.now_ms),))
    problem = create_problem(request, book.now_ms)
    if problem:
        return Rows(problem=problem)
    if posting.too_much(book, request.posted_nano):
        return Rows(problem=posting.FULL)
    profile = add_profile(book, request.profile or DEFAULT_PROFILE)
    key_id = key_id_of(digest)
    account = _account(book, request, profile, key_id)
    account.low_nano = request.low_balance_nano or account.low_nano
    if request.caps or request.rpm or request.tpm or request.in_flight or bounded(book, profile):
        book.flag(account, limited=True)
    key = book.keys.add(
        Key(
            id=key_id,
            digest=digest,
            name=request.name,
            profile=profile.id,
            account_id=account.id,
            providers=names_column(request.providers),
            playground=request.playground,
            status=Status.ACTIVE,
            created_ms=book.now_ms,
            revoked_ms=0,
            expires_ms=ending_ms(request, book.now_ms) or 0,
            models=names_column(request.models),
            rpm=request.rpm,
            tpm=request.tpm,
            in_flight=request.in_flight,
            labels=labels.column(request.labels),
        )
    )
    secret = add_secret(book, key, digest, request.hint)
    for new in request.caps:
        zone = capping.zone_of(book, new.zone, profile.id)
        capping.begin(book, key_scope(key_id), new, zone, capping.NO_CALLS)
    posting.deposit(book, account.id, request.posted_nano, f"create:{key_id}")
    return Rows((key_row(key, account, book.now_ms, (secret,)),))


def add_profile(book: Book, profile_id: str) -> Profile:
    """A profile, made if there is none, with an account for its playground credits."""
    profile = book.profiles.get(profile_id)
    if profile is None:
        profile = book.profiles.add(
            Profile(id=profile_id, playground_credits_usd="0.00", created_ms=book.now_ms)
        )
        book.add_account(playground_id(profile_id))
    return profile


def add_wallet(book: Book, profile_id: str) -> Account:
    """An organisation's own account, made if there is none."""
    account = book.accounts.get(wallet_id(profile_id))
    return account or _new_account(book, book.profiles[profile_id], wallet_id(profile_id))


def _account(book: Book, request: KeyCreate, profile: Profile, key_id: str) -> Account:
    if request.playground:
        return book.accounts[playground_id(profile.id)]
    if request.wallet:
        return add_wallet(book, profile.id)
    return _new_account(book, profile, metered_id(key_id))


def _new_account(book: Book, profile: Profile, account_id: str) -> Account:
    account = book.add_account(account_id)
    account.limited = bounded(book, profile)
    return account


def bounded(book: Book, profile: Profile) -> bool:
    """Whether calls of all keys of an organisation have to look for what bounds them, or suspends them."""
    return profile.id in book.bounded_owners or profile.status == Status.SUSPENDED


def key_revoke(book: Book, request: KeyRef) -> Rows:
    """Revokes a key; calls in flight are settled as ever."""
    key = book.keys.get(request.key_id)
    if key is None:
        return missing_key(request.key_id)
    if len(request.reason) > posting.REASON_CHARS_MAX or "\x00" in request.reason:
        return Rows(problem=f"a reason has at most {posting.REASON_CHARS_MAX} characters")
    if key.status != Status.REVOKED:
        key.status, key.revoked_ms = Status.REVOKED, book.now_ms
        changed(book, key)
    return Rows((key_row(key, book.accounts[key.account_id], book.now_ms, shown_secrets(book, key)),))


def changed(book: Book, key: Key) -> None:
    """Tells the book that a key has changed."""
    key.version += 1
    book.keys.touch(key)
