"""Owns spend caps as calls meet them: what they leave to a new hold, where it counts, and what a late report may charge."""

from msgspec import Struct

from ledger.rules.book import Book
from ledger.rules.counted import counted
from ledger.rules.limits.base import count, scopes
from ledger.rules.limits.periods import span
from ledger.rules.rows import Account, Cap, CapPeriod, Hold, Key
from schemas.verbs.calls import CapFigures


class Room(Struct, frozen=True):
    """What one cap leaves in its current period."""

    cap: Cap
    period: CapPeriod
    headroom_nano: int


class Purse(Struct, frozen=True):
    """What a new hold may take: all that is free of an account, or less if a cap leaves less; then `room` is that cap's."""

    account: Account
    available_nano: int
    room: Room | None = None


def period_id(cap_id: str, start_ms: int) -> str:
    """The id of a cap's period."""
    return f"{cap_id}@{start_ms}"


def current_id(cap: Cap, now_ms: int) -> str:
    """The id of the period of a cap that a moment lies in."""
    return period_id(cap.id, span(cap.period, cap.zone, now_ms).start_ms)


def headroom_nano(cap: Cap, period: CapPeriod) -> int:
    """What of a cap is neither spent nor held in a period."""
    return max(cap.limit_nano - period.spent_nano - period.held_nano, 0)


def current(book: Book, cap: Cap) -> CapPeriod | None:
    """A cap's period of now, which may not be in the book yet; None for a cap that begins with the next one.

    Such a cap was made in the middle of a period in which it had too many calls to count.
    """
    return found_or_new(cap, book.periods.get(current_id(cap, book.now_ms)), book.now_ms)


def found_or_new(cap: Cap, found: CapPeriod | None, now_ms: int) -> CapPeriod | None:
    """A cap's current period, by what the books have of it."""
    now = span(cap.period, cap.zone, now_ms)
    if found is None and not now.start_ms < cap.created_ms < now.end_ms:
        return new_period(cap, now.start_ms, now.end_ms)
    return found


def new_period(cap: Cap, start_ms: int, end_ms: int) -> CapPeriod:
    """A period of a cap in which nothing has happened."""
    return CapPeriod(
        id=period_id(cap.id, start_ms),
        cap_id=cap.id,
        start_ms=start_ms,
        end_ms=end_ms,
        spent_nano=0,
        held_nano=0,
        base_nano=0,
        ceiling_nano=cap.limit_nano,
        alerted=False,
    )


def _rooms(book: Book, key: Key) -> list[Room]:
    return [
        Room(cap, period, headroom_nano(cap, period))
        for scope in scopes(key)
        for cap in book.capped.get(scope, ())
        if (period := current(book, cap)) is not None
    ]


def purse(book: Book, key: Key, account: Account) -> Purse:
    """What a new hold of a key may take. Where a cap leaves as little as the balance, the balance speaks."""
    available_nano = account.available_nano
    if account.limited:
        tightest = min(_rooms(book, key), key=lambda room: room.headroom_nano, default=None)
        if tightest is not None and tightest.headroom_nano < available_nano:
            return Purse(account, tightest.headroom_nano, tightest)
    return Purse(account, available_nano)


def take(book: Book, key: Key, hold: Hold) -> None:
    """Counts a new hold in the current period of each cap of its key, where it stays for good."""
    ids: list[str] = []
    for room in _rooms(book, key):
        if room.period.id not in book.periods:
            book.periods.add(room.period)
        ids.append(room.period.id)
    if ids:
        count(book, hold, p=tuple(ids))
        book.count(hold, held_nano=hold.held_nano)


def free_nano(book: Book, hold: Hold, account: Account) -> int:
    """What a hold's call may be charged beyond what is paid and held: what its account has, and its own periods leave."""
    free = account.available_nano
    for id_ in counted(hold).p:
        period = book.periods[id_]
        free = min(free, headroom_nano(book.caps[period.cap_id], period))
    return free


def figures(room: Room) -> CapFigures:
    """A cap as a refusal tells it."""
    cap, period = room.cap, room.period
    return CapFigures(
        id=cap.id,
        scope=cap.scope.partition(":")[0],
        period=cap.period,
        zone=cap.zone,
        limit_nano=cap.limit_nano,
        spent_nano=period.spent_nano,
        held_nano=period.held_nano,
        resets_s=period.end_ms // 1000,
    )
