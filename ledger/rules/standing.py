"""Owns whether a key may call, or only read, or nothing: its own state, its secret's end, and its organisation's state."""

from functools import lru_cache

import msgspec

from ledger.rules.book import Book
from ledger.rules.rows import Key, Status
from schemas.verbs.calls import Reason, Refusal

EXPIRED = "expired"  # what a key is shown as once its time is over; its row keeps the word of before
_NAMES_MAX = 4_096  # lists of names that are remembered: each takes longer to read than to find
_decode = msgspec.json.Decoder(tuple[str, ...]).decode


@lru_cache(maxsize=_NAMES_MAX)
def names_of(column: str) -> tuple[str, ...] | None:
    """The providers, or models, of a key's column; None for all."""
    return _decode(column) if column else None


def ended_ms(now_ms: int, *ends_ms: int) -> int:
    """The first moment that has passed of those at which a key or its secret ends (0: never); 0 while none has."""
    return min((one for one in ends_ms if 0 < one <= now_ms), default=0)


def status_of(key: Key, now_ms: int) -> str:
    """What a key is now, in the words of commands."""
    if key.status != Status.REVOKED and ended_ms(now_ms, key.expires_ms):
        return EXPIRED
    return key.status


def refusal(book: Book, key: Key, digest: str) -> Refusal | None:
    """Why a key that is known may not make a call now, if it may not."""
    if key.status == Status.REVOKED:
        return Refusal(Reason.UNKNOWN_KEY)
    secret = book.secret_of(digest)
    if key.expires_ms or (secret is not None and secret.expires_ms):
        over_ms = ended_ms(book.now_ms, key.expires_ms, 0 if secret is None else secret.expires_ms)
        if over_ms:
            return Refusal(Reason.EXPIRED, expired_ms=over_ms)
    if key.status != Status.ACTIVE:
        return Refusal(Reason.PAUSED)
    # The flag is read after its account was locked, and only where it stands are organisations loaded.
    if book.accounts[key.account_id].limited and book.profiles[key.profile].status == Status.SUSPENDED:
        return Refusal(Reason.SUSPENDED)
    return None
