"""Owns the secrets of keys: the first, those that follow, and until when the ones before still open the key."""

from ledger.rules.book import Book
from ledger.rules.rows import Key, KeySecret

LIVE_MAX = 5  # secrets of one key at one time
OVERLAP_MAX_MS = 30 * 86_400_000
HINT_CHARS_MAX = 4


def secret_row(secret: KeySecret) -> dict[str, object]:
    """A secret as commands show it: never itself."""
    return {
        "id": secret.id,
        "hint": secret.hint,
        "created": secret.created_ms // 1000,
        "expires_at": secret.expires_ms // 1000 if secret.expires_ms else None,
    }


def add_secret(
    book: Book,
    key: Key,
    digest: str,
    hint: str,
    *,
    created_ms: int | None = None,
    pepper: str | None = None,
) -> KeySecret:
    """One more secret of a key, hashed with the pepper of an id; None is the one of now."""
    return book.secrets.add(
        KeySecret(
            digest=digest,
            id=f"sec_{digest[:16]}",
            key_id=key.id,
            hint=hint[-HINT_CHARS_MAX:].replace("\x00", ""),
            created_ms=book.now_ms if created_ms is None else created_ms,
            expires_ms=0,
            pepper=book.pepper if pepper is None else pepper,
        )
    )


def secrets_of(book: Book, key: Key) -> list[KeySecret]:
    """All secrets of a key, once they are loaded. A ledger of the version before wrote none for the key's first."""
    found = [one for one in book.secrets.values() if one.key_id == key.id]
    return found or [add_secret(book, key, key.digest, "", created_ms=key.created_ms, pepper="")]


def shown_secrets(book: Book, key: Key) -> list[KeySecret]:
    """Those of them that the books have, once they are loaded."""
    return [one for one in book.secrets.values() if one.key_id == key.id]


def live(secret: KeySecret, now_ms: int) -> bool:
    """Whether a secret opens its key."""
    return not 0 < secret.expires_ms <= now_ms
