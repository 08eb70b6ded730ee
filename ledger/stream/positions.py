"""Owns which stream of usage events the books are on: its name here, adopted once however many ledgers notice a change.

A stream's identity is its date of birth. Restored streams keep theirs, so one that went back gets a number besides.
"""

from msgspec import Struct

from ledger.commits.load_save import save_position
from ledger.store.base import Store, StoreConflict
from ledger.stream.jetstream import Stream

_CURRENT_SQL = (
    "SELECT identity, applied_seq FROM stream_positions WHERE current ORDER BY opened_ms DESC, identity DESC"
)


class Position(Struct, frozen=True):
    """Everything up to `applied` of a stream is in the books."""

    identity: str
    applied: int

    def is_of(self, stream: Stream) -> bool:
        """Whether a stream, looked at after the books, can be the one that was applied so far."""
        return self.identity.partition("#")[0] == stream.created and self.applied <= stream.state.last_seq


async def current(store: Store) -> Position | None:
    """The position in the books; None before the first stream."""
    rows = await store.fetch(_CURRENT_SQL)
    return Position(rows[0][0], rows[0][1]) if rows else None


async def adopt(store: Store, was: Position | None, stream: Stream) -> Position:
    """Goes on with another stream from its begin; or with whatever another ledger has adopted meanwhile."""
    async with store.write() as tx:
        rows = await tx.fetch(f"{_CURRENT_SQL}{tx.locked}")
        if was is not None and not rows:
            # Another ledger adopted one while this one waited for the row: its own is seen by the next transaction.
            raise StoreConflict("the stream was adopted by another ledger")
        if rows and (was is None or rows[0][0] != was.identity):
            return Position(rows[0][0], rows[0][1])
        names = await tx.fetch(
            "SELECT identity FROM stream_positions WHERE identity = $1 OR identity LIKE $2",
            stream.created,
            f"{stream.created}#%",
        )
        identity = f"{stream.created}#{len(names)}" if names else stream.created
        await tx.execute(
            "UPDATE stream_positions SET current = $1, detail = $2 WHERE current",
            False,
            f"replaced by {identity} at {stream.state.last_seq}",
        )
        await tx.execute(
            "INSERT INTO stream_positions (identity, applied_seq, current, opened_ms, detail) "
            "VALUES ($1, 0, $2, $3, '')",
            identity,
            True,
            tx.now_ms,
        )
    return Position(identity, 0)


async def skip(store: Store, identity: str, through: int) -> Position:
    """Moves past what the stream no longer has: it was applied, or it is lost and its holds expire. Returns where that is."""
    async with store.write() as tx:
        await save_position(tx, identity, [(1, through)])
        rows = await tx.fetch("SELECT applied_seq FROM stream_positions WHERE identity = $1", identity)
    return Position(identity, rows[0][0])
