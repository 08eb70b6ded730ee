"""Owns spend caps as calls meet them: what they leave to a new hold, where it counts, and what a late report may charge."""

from collections.abc import Sequence

from msgspec import Struct

from ledger.rules.book import Book
from ledger.rules.counted import counted
from ledger.rules.limits.base import count, scopes
from ledger.rules.limits.periods import span
from ledger.rules.rows import Account, Cap, CapPeriod, Hold, Key
from schemas.verbs.calls import CapFigures

_IDS_MAX = 20_000  # remembered: each takes longer to make than to find
# Of a cap, its period and zone: the last current period's begin, end and id, nearly always the next one's too.
_ids: dict[tuple[str, str, str], tuple[int, int, str]] = {}


class Room(Struct, frozen=True):
    """What one cap leaves in its current period."""

    cap: Cap
    period: CapPeriod
    headroom_nano: int


class Purse(Struct, frozen=True):
    """What a new hold may take: all that is free of an account, or less if a cap leaves less; then `room` is that cap's.

    `periods` are the current ones of all its caps.
    """

    account: Account
    available_nano: int
    periods: Sequence[CapPeriod] = ()
    room: Room | None = None


def period_id(cap_id: str, start_ms: int) -> str:
    """The id of a cap's period."""
    return f"{cap_id}@{start_ms}"


def current_id(cap: Cap, now_ms: int) -> str:
    """The id of the period of a cap that a moment lies in."""
    kind = cap.id, cap.period, cap.zone
    known = _ids.get(kind)
    if known is not None and known[0] <= now_ms and (now_ms < known[1] or not known[1]):
        return known[2]
    if len(_ids) >= _IDS_MAX:
        _ids.clear()
    now = span(cap.period, cap.zone, now_ms)
    id_ = period_id(cap.id, now.start_ms)
    _ids[kind] = now.start_ms, now.end_ms, id_
    return id_


def headroom_nano(cap: Cap, period: CapPeriod) -> int:
    """What of a cap is neither spent nor held in a period. One that is over keeps the limit that it had."""
    return max(min(cap.limit_nano, period.ceiling_nano) - period.spent_nano - period.held_nano, 0)


def current(book: Book, cap: Cap) -> CapPeriod | None:
    """A cap's period of now, which may not be in the book yet; None for a cap that begins with the next one.

    Such a cap was made in the middle of a period in which it had too many calls to count.
    """
    found = book.periods.get(current_id(cap, book.now_ms))
    return found if found is not None else first_seen(cap, book.now_ms)


def first_seen(cap: Cap, now_ms: int) -> CapPeriod | None:
    """The same where the books have no such period."""
    now = span(cap.period, cap.zone, now_ms)
    begins_next = now.start_ms < cap.created_ms < now.end_ms
    return None if begins_next else new_period(cap, now.start_ms, now.end_ms)


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
        alert_nano=alert_nano(cap),
    )


def alert_nano(cap: Cap) -> int:
    """From what on it is told that much of a cap is spent."""
    return -(-cap.limit_nano * cap.alert_percent // 100)


def reach(book: Book, period: CapPeriod) -> None:
    """Notes that a cap has refused a call: it is told once a period."""
    if period.reached:
        return
    period.reached = True
    if period.id in book.periods:
        book.periods.touch(period)
    else:
        book.periods.add(period)
    book.cap_notes.append(("cap.reached", period))


def _current_of(book: Book, key: Key) -> list[tuple[Cap, CapPeriod]]:
    """The caps that bound a key's calls, with their current periods. Neither changes in a batch that has calls."""
    known = book.current.get(key.id)
    if known is not None:
        return known
    found = [
        (cap, period)
        for scope in scopes(key)
        for cap in book.capped.get(scope, ())
        if (period := current(book, cap)) is not None
    ]
    if all(period.id in book.periods for _, period in found):  # else another key may come to add the same one
        book.current[key.id] = found
    return found


def purse(book: Book, key: Key, account: Account) -> Purse:
    """What a new hold of a key may take. Where a cap leaves as little as the balance, the balance speaks."""
    available_nano = account.available_nano
    if not account.limited:
        return Purse(account, available_nano)
    found = _current_of(book, key)
    periods = [period for _, period in found]
    tightest: Room | None = None
    for cap, period in found:
        left_nano = headroom_nano(cap, period)
        if left_nano < available_nano:
            available_nano, tightest = left_nano, Room(cap, period, left_nano)
    return Purse(account, available_nano, periods, tightest)


def take(book: Book, purse: Purse, hold: Hold) -> None:
    """Counts a new hold in the periods that it was measured by, where it stays for good."""
    if not purse.periods:
        return
    for period in purse.periods:
        if period.id not in book.periods:
            book.periods.add(period)
    count(book, hold, p=tuple([period.id for period in purse.periods]))
    book.count(hold, held_nano=hold.held_nano)


def free_nano(book: Book, hold: Hold, account: Account) -> int:
    """What a hold's call may be charged beyond what is paid and held: what its account has, and its own periods leave."""
    free = account.available_nano
    for id_ in counted(hold).p:
        period = book.periods[id_]
        cap = book.caps.get(period.cap_id)  # not loaded where the hold was open when the batch began
        limit_nano = period.ceiling_nano if cap is None else min(cap.limit_nano, period.ceiling_nano)
        free = min(free, max(limit_nano - period.spent_nano - period.held_nano, 0))
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
