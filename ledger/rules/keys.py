"""Owns what commands change about keys: their making with a first balance, and revocation."""

import msgspec

from ledger.rules import capping
from ledger.rules.authorise import ACTIVE, REVOKED, providers_of
from ledger.rules.book import Book
from ledger.rules.limits.base import key_scope
from ledger.rules.money import posting
from ledger.rules.rows import Account, Key, Profile, metered_id, playground_id
from schemas.money.amounts import NANO_MAX
from schemas.verbs.base import Rows
from schemas.verbs.keys import KeyCreate, KeyRef

DEFAULT_PROFILE = "default"
NAME_CHARS_MAX = 200
_encode = msgspec.json.Encoder().encode


def key_row(key: Key, account: Account) -> dict[str, object]:
    """A key as commands show it."""
    return {
        "id": key.id,
        "name": key.name,
        "profile": key.profile,
        "providers": providers_of(key),
        "status": key.status,
        "playground": bool(key.playground),
        "posted_nano": account.posted_nano,
        "created": key.created_ms // 1000,
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


def create_problem(request: KeyCreate) -> str:
    """Why a key cannot be made as asked; empty if it can."""
    if len(request.digest) != 32:
        return "the digest is not a SHA-256"
    if not 0 <= request.posted_nano <= NANO_MAX // 4:
        return "the balance must not be negative, or beyond 2 billion USD"
    if (
        max(len(request.name), len(request.profile)) > NAME_CHARS_MAX
        or "\x00" in request.name + request.profile
    ):
        return f"names have at most {NAME_CHARS_MAX} characters"
    if len({one.period for one in request.caps}) < len(request.caps):
        return "a key has one cap a period"
    return next(filter(None, map(capping.problem_of, request.caps)), "")


def key_create(book: Book, request: KeyCreate, digest: str) -> Rows:
    """Makes a key and its accounts. The same key again is the same key: nothing is credited twice."""
    problem = create_problem(request)
    if problem:
        return Rows(problem=problem)
    existing = book.keys.find(digest)
    if existing is not None:
        return Rows((key_row(existing, book.accounts[existing.account_id]),))
    if posting.too_much(book, request.posted_nano):
        return Rows(problem=posting.FULL)
    profile_id = request.profile or DEFAULT_PROFILE
    if profile_id not in book.profiles:
        book.profiles.add(Profile(id=profile_id, playground_credits_usd="0.00", created_ms=book.now_ms))
        book.add_account(playground_id(profile_id))
    key_id = key_id_of(digest)
    account_id = playground_id(profile_id) if request.playground else metered_id(key_id)
    account = book.accounts[account_id] if request.playground else book.add_account(account_id)
    # What bounds all keys of an organisation flags its playground account, which is locked here.
    account.limited = book.accounts[playground_id(profile_id)].limited or bool(request.caps)
    book.accounts.touch(account)
    key = book.keys.add(
        Key(
            id=key_id,
            digest=digest,
            name=request.name,
            profile=profile_id,
            account_id=account_id,
            providers="" if request.providers is None else _encode(request.providers).decode(),
            playground=request.playground,
            status=ACTIVE,
            created_ms=book.now_ms,
            revoked_ms=0,
        )
    )
    for new in request.caps:
        zone = capping.zone_of(book, new.zone, profile_id)
        capping.begin(book, key_scope(key_id), new, zone, capping.NO_CALLS)
    posting.deposit(book, account_id, request.posted_nano, f"create:{key_id}")
    return Rows((key_row(key, account),))


def key_revoke(book: Book, request: KeyRef) -> Rows:
    """Revokes a key; calls in flight are settled as ever."""
    key = book.keys.get(request.key_id)
    if key is None:
        return missing(f"key {request.key_id}")
    if key.status != REVOKED:
        key.status, key.revoked_ms = REVOKED, book.now_ms
        book.keys.touch(key)
    return Rows((key_row(key, book.accounts[key.account_id]),))


def missing(what: str) -> Rows:
    """The answer when a command names what does not exist."""
    return Rows(problem=f"there is no {what}", missing=True)
