"""Owns what commands change: keys, their first balance, revocation, and credit."""

import msgspec

from ledger.rules import capping
from ledger.rules.authorise import ACTIVE, REVOKED, providers_of
from ledger.rules.book import Book
from ledger.rules.limits.base import key_scope
from ledger.rules.rows import DEPOSITS, Account, Key, Kind, Profile, metered_id, playground_id
from schemas.money.amounts import NANO_MAX
from schemas.verbs.base import Rows
from schemas.verbs.keys import Credit, KeyCreate, KeyRef

DEFAULT_PROFILE = "default"
DEPOSITS_MAX_NANO = NANO_MAX // 2  # all together: beyond it sums of nano-dollars would not fit their columns
_FULL = "all deposits together are at most 4 billion USD"
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
    if book.deposited_nano + request.posted_nano > DEPOSITS_MAX_NANO:
        return Rows(problem=_FULL)
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
    book.move(
        request.posted_nano,
        debit=DEPOSITS,
        credit=account_id,
        request_id=f"create:{key_id}",
        kind=Kind.DEPOSIT,
    )
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


def credit(book: Book, request: Credit) -> Rows:
    """Adds to a balance, once per request id."""
    if not 0 < request.amount_nano <= NANO_MAX // 4:
        return Rows(problem="the amount must be more than 0, and at most 2 billion USD")
    if bool(request.key_id) == bool(request.profile):
        return Rows(problem="name either a key or a profile")
    revoked = False
    if request.key_id:
        key = book.keys.get(request.key_id)
        if key is None:
            return missing(f"key {request.key_id}")
        account, revoked = book.accounts[key.account_id], key.status == REVOKED
    else:
        if request.profile not in book.profiles:
            return missing(f"profile {request.profile}")
        account = book.accounts[playground_id(request.profile)]
    done = book.deposits.get(request.request_id)
    if done is not None:
        if (done.credit, done.amount_nano) != (account.id, request.amount_nano):
            return Rows(problem="this request id was used for another credit")
    elif revoked:
        return Rows(problem=f"key {request.key_id} is revoked: nothing could be spent there")
    elif book.deposited_nano + request.amount_nano > DEPOSITS_MAX_NANO:
        return Rows(problem=_FULL)
    else:
        book.move(
            request.amount_nano,
            debit=DEPOSITS,
            credit=account.id,
            request_id=request.request_id,
            kind=Kind.DEPOSIT,
        )
        book.deposits[request.request_id] = book.transfers[-1]
    return Rows((balance_row(request.key_id or request.profile, account),))


def missing(what: str) -> Rows:
    """The answer when a command names what does not exist."""
    return Rows(problem=f"there is no {what}", missing=True)
