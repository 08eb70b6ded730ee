"""Owns the peppers that keys are hashed with: which one these books go by, how another takes its place, and what is left of it."""

import hmac
from collections.abc import Mapping, Sequence

from msgspec import structs

from ledger.commits.ledgers import SEEN_MS, SEEN_SQL
from ledger.rules.book import Book
from ledger.rules.rows import Status
from ledger.rules.secrets import add_secret
from ledger.store.base import Store, Transaction
from ledger.store.filling import LEAST
from ledger.store.migrate import KNOWN_REVISION
from runtime.settings.settings import SettingsError

_ONLY = "keys"
_FIRST = "first"
_FORMER = "former:"
_TEXT = b"tokn: the pepper of these books"
_ID_CHARS = 16
_KEPT_SQL = "SELECT digest FROM peppers WHERE id = $1"
_PUT_SQL = "INSERT INTO peppers (id, digest) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"


def _tag(pepper: bytes) -> str:
    return hmac.digest(pepper, _TEXT, "sha256").hex()


class Peppers:
    """Those that a ledger has. The first is wanted; `current` hashes what is new, until all ledgers know the wanted one."""

    def __init__(self, peppers: Sequence[bytes]) -> None:
        self._all = {_tag(one): one for one in peppers}
        self.wanted = next(iter(self._all))
        self.scoping = peppers[-1]  # what stands for a key stays the same while another pepper takes over
        self.adopt(self.wanted)

    def adopt(self, tag: str) -> None:
        """Hashes with the pepper of this tag from now on."""
        self.current = tag
        self._pepper = self._all[tag]
        self._others = tuple(one for name, one in self._all.items() if name != tag)
        self.id = tag[:_ID_CHARS]

    def knows(self, tag: str) -> bool:
        """Whether the pepper of a tag is among them."""
        return any(hmac.compare_digest(tag, one) for one in self._all)

    @property
    def ids(self) -> list[str]:
        """The ids of all, the one of now first."""
        return [tag[:_ID_CHARS] for tag in sorted(self._all, key=lambda tag: tag != self.current)]

    @property
    def several(self) -> bool:
        """Whether there are others than the one of now."""
        return bool(self._others)

    @property
    def moves(self) -> bool:
        """Whether secrets that are found by another are hashed anew."""
        return self.current == self.wanted

    @property
    def sealing(self) -> bytes:
        """What webhooks' secrets are sealed under from now on."""
        return self._pepper

    @property
    def opening(self) -> tuple[bytes, ...]:
        """What they may have been sealed under."""
        return (self._pepper, *self._others)

    def digest(self, key_digest: bytes) -> str:
        """What the books keep of a secret: a keyed hash of the hash that an edge sends."""
        return hmac.digest(self._pepper, key_digest, "sha256").hex()

    def others(self, key_digest: bytes) -> list[str]:
        """What the books may still have of it."""
        return [hmac.digest(one, key_digest, "sha256").hex() for one in self._others]


async def check_pepper(store: Store, peppers: Peppers, ledger: str = "") -> None:
    """Finds out which of a ledger's peppers these books go by, keeps that in books that have nothing of it yet, and tells theirs.

    Raises SettingsError for books of another pepper: all their keys would be unknown.
    """
    async with store.write() as tx:
        tag = peppers.wanted
        if await tx.fetch("SELECT 1 FROM api_keys LIMIT 1"):
            tag = _tag(
                peppers.scoping
            )  # books of a version that kept none: their keys are older than the newest pepper
        await tx.execute(_PUT_SQL, _ONLY, tag)
        ((kept,),) = await tx.fetch(_KEPT_SQL + tx.locked, _ONLY)
        if peppers.knows(kept) and ledger:
            await tell(tx, peppers, ledger)
    adopt(peppers, kept)


def adopt(peppers: Peppers, kept: str) -> None:
    """Hashes with the pepper that books go by. Raises SettingsError where it is not among a ledger's."""
    if not peppers.knows(kept):
        raise SettingsError(
            "[ledger] pepper: the keys of these books were hashed with another one: "
            "restore the pepper that belongs to them (secrets.json of the data folder, or TOKN_PEPPER)"
        )
    peppers.adopt(kept)


async def kept_in(store: Store) -> str:
    """The tag of the pepper that these books go by; empty for books that have none yet."""
    rows = await store.fetch(_KEPT_SQL, _ONLY)
    return str(rows[0][0]) if rows else ""


async def tell(tx: Transaction, peppers: Peppers, ledger: str) -> None:
    """Says that a ledger runs, and which peppers it has."""
    await tx.execute(SEEN_SQL, ledger, KNOWN_REVISION, tx.now_ms)
    await tx.execute("UPDATE ledgers SET peppers = $2 WHERE id = $1", ledger, " ".join(peppers.ids))


async def advance(tx: Transaction, peppers: Peppers, ledger: str) -> str:
    """Tells that a ledger runs, and answers with the tag of what hashes new secrets from now on.

    That is the wanted pepper once every ledger has it.

    A ledger that was seen within SEEN_MS and does not say that it has it, as one of an older version, keeps the books
    at the pepper of before: it would not find what was hashed anew. A pepper that was left is never taken again.
    """
    rows = await tx.fetch(_KEPT_SQL + tx.locked, _ONLY)
    await tell(tx, peppers, ledger)
    wanted = peppers.wanted
    kept = (
        rows[0][0] if rows else peppers.current
    )  # a row that a person took away comes back at the next start
    if not rows or kept == wanted or await tx.fetch(_KEPT_SQL, f"{_FORMER}{wanted[:_ID_CHARS]}"):
        return str(kept)
    seen = await tx.fetch(
        "SELECT peppers FROM ledgers WHERE id <> $1 AND seen_ms > $2", LEAST, tx.now_ms - SEEN_MS
    )
    if not all(wanted[:_ID_CHARS] in str(row[0]).split() for row in seen):
        return str(kept)
    for name in (_FIRST, f"{_FORMER}{kept[:_ID_CHARS]}"):
        await tx.execute(_PUT_SQL, name, kept)
    await tx.execute("UPDATE peppers SET digest = $2 WHERE id = $1", _ONLY, wanted)
    return wanted


async def find_former(tx: Transaction, book: Book, former: Mapping[str, str], *, moves: bool) -> None:
    """Finds what a batch asks for by peppers of before; where it `moves`, such a secret is hashed with the one of now.

    `former` are the digests by those peppers, each with that by the one of now. The key and its id stay as they are. It
    comes before accounts are locked, in the order of the digests, so that ledgers wait for one another in no circle.
    """
    told = {one.key_id for one in book.secrets.values()}
    for digest, current in sorted(former.items()):
        secret, key = book.secrets.get(digest), book.keys.find(digest)
        if secret is None and key is not None and key.id in told:
            continue  # its own column keeps the first hash, which opens nothing where secrets stand beside it
        if secret is not None and moves:
            sql = "UPDATE key_secrets SET digest = $2, pepper = $3 WHERE digest = $1"
            await tx.execute(sql, digest, current, book.pepper)
            book.secrets.rename(secret, structs.replace(secret, digest=current, pepper=book.pepper))
        elif secret is not None:
            book.found_by[current] = digest
        elif key is not None and moves:  # a ledger of the version before wrote none for it
            add_secret(book, key, current, "", created_ms=key.created_ms)
        elif key is not None:
            book.found_by[current] = digest


async def unhashed(store: Store, peppers: Peppers) -> dict[str, object]:
    """How many live keys, and secrets of theirs, are hashed with another pepper than the books go by.

    `refused` are those among them whose pepper this ledger does not have, so that they open nothing.
    """
    kept = await kept_in(store)
    first = await store.fetch(_KEPT_SQL, _FIRST)
    first_id = str(first[0][0] if first else kept)[:_ID_CHARS]
    now_ms = store.now_ms()
    rows = await store.fetch(
        "SELECT k.id, s.pepper FROM key_secrets AS s JOIN api_keys AS k ON k.id = s.key_id "
        "WHERE k.status <> $1 AND (k.expires_ms = 0 OR k.expires_ms > $2) AND (s.expires_ms = 0 OR s.expires_ms > $3) "
        "AND s.pepper <> $4 "
        "UNION ALL SELECT k.id, '' FROM api_keys AS k WHERE k.status <> $5 AND (k.expires_ms = 0 OR k.expires_ms > $6) "
        "AND NOT EXISTS (SELECT 1 FROM key_secrets AS s WHERE s.key_id = k.id)",
        Status.REVOKED,
        now_ms,
        now_ms,
        kept[:_ID_CHARS],
        Status.REVOKED,
        now_ms,
    )
    left = [(row[0], row[1] or first_id) for row in rows]
    left = [one for one in left if one[1] != kept[:_ID_CHARS]]
    lost = [one for one in left if one[1] not in peppers.ids]
    return {
        "keys": len({one[0] for one in left}),
        "secrets": len(left),
        "refused_keys": len({one[0] for one in lost}),
        "refused_secrets": len(lost),
        "moving": peppers.moves,
    }
