"""Owns what operators do to spend caps: make, change and end them, with what calls of the running period have spent."""

from collections.abc import Sequence

from ledger.rules.book import Book, CallsBefore
from ledger.rules.counted import counted
from ledger.rules.limits import caps
from ledger.rules.limits.base import (
    KEY,
    ORGANIZATION,
    bounded,
    bounded_together,
    count,
    key_scope,
    organization_scope,
)
from ledger.rules.limits.periods import PERIODS, TOTAL, UTC, is_zone, span
from ledger.rules.missing import missing
from ledger.rules.rows import Account, Cap, CapPeriod, playground_id
from schemas.bus.subjects import is_token
from schemas.money.amounts import NANO_MAX
from schemas.verbs.base import Rows
from schemas.verbs.caps import CapCreate, CapEnd, CapUpdate, NewCap

LIMIT_MAX_NANO = NANO_MAX // 4
ID_CHARS_MAX = 64
NO_CALLS = CallsBefore()


def problem_of(new: NewCap) -> str:
    """Why a cap cannot be as asked; empty if it can."""
    if not (new.cap_id.startswith("cap_") and is_token(new.cap_id) and len(new.cap_id) <= ID_CHARS_MAX):
        return "the cap's id is not one"
    if new.period not in PERIODS:
        return f"a cap's period is one of {', '.join(PERIODS)}"
    if new.zone and not is_zone(new.zone):
        return f"{new.zone[:ID_CHARS_MAX]!r} is not a time zone: name it as Europe/Berlin or UTC"
    return _figures_problem(new.limit_nano, new.alert_percent)


def _figures_problem(limit_nano: int, alert_percent: int) -> str:
    if not 0 <= limit_nano <= LIMIT_MAX_NANO:
        return "a cap must not be negative, or beyond 2 billion USD"
    if not 1 <= alert_percent <= 100:
        return "an alert is at 1 to 100 percent"
    return ""


def scope_of(request: CapCreate) -> str:
    """The scope of a cap that is asked for; empty if it names none, or two."""
    if bool(request.key_id) == bool(request.organization):
        return ""
    return key_scope(request.key_id) if request.key_id else organization_scope(request.organization)


def create(book: Book, request: CapCreate) -> Rows:
    """Makes a cap. The same again is the same cap."""
    new, scope = request.cap, scope_of(request)
    problem = problem_of(new) if scope else "name either a key or an organisation"
    if problem:
        return Rows(problem=problem)
    if request.key_id and request.key_id not in book.keys:
        return missing(f"key {request.key_id}")
    if request.organization and request.organization not in book.profiles:
        return missing(f"organisation {request.organization}")
    existing = book.caps.get(new.cap_id)
    if existing is not None:
        same = (existing.scope, existing.period, existing.limit_nano) == (scope, new.period, new.limit_nano)
        return Rows((cap_row(book, existing),)) if same else Rows(problem="this id was used for another cap")
    for other in book.capped.get(scope, ()):
        if other.period == new.period:
            return Rows(
                problem=f"cap_exists: there is {other.id} by {new.period}; change it, or end it first"
            )
    before = book.calls_before.get(new.cap_id, NO_CALLS)
    if before.too_many and new.period == TOTAL:
        return Rows(problem="there are too many calls to count: make a cap by month")
    owner = request.organization or book.keys[request.key_id].profile
    cap = begin(book, scope, new, zone_of(book, new.zone, owner), before)
    for account in _accounts_of(book, scope):
        book.flag(account, limited=True)
    return Rows((cap_row(book, cap),))


def zone_of(book: Book, zone: str, organization: str) -> str:
    """A new cap's zone: the one that is asked for, else its organisation's, else UTC."""
    profile = book.profiles.get(organization)
    own = "" if profile is None or not is_zone(profile.timezone) else profile.timezone
    return zone or own or UTC


def begin(book: Book, scope: str, new: NewCap, zone: str, before: CallsBefore) -> Cap:
    """Adds a cap, with what was spent and is held in its running period. Whoever asks flags the accounts of its scope."""
    cap = book.caps.add(
        Cap(
            id=new.cap_id,
            scope=scope,
            period=new.period,
            zone=zone,
            limit_nano=new.limit_nano,
            alert_percent=new.alert_percent,
            created_ms=book.now_ms,
            ended_ms=0,
            version=1,
        )
    )
    book.capped.setdefault(scope, []).append(cap)
    now = span(cap.period, zone, book.now_ms)
    if before.too_many and now.start_ms < book.now_ms:
        return cap
    period = book.periods.add(caps.new_period(cap, now.start_ms, now.end_ms))
    period.base_nano = before.spent_nano
    period.spent_nano = before.spent_nano + before.open_nano
    period.held_nano = sum(hold.held_nano for hold in before.open)
    for hold in before.open:
        count(book, hold, p=(*counted(hold).p, period.id))
    _raise_ceiling(cap, period)
    _alert_anew(book, cap, period)
    return cap


def _alert_anew(book: Book, cap: Cap, period: CapPeriod) -> None:
    """Another figure is another alert: it is told when that one is reached, which may be now."""
    period.alert_nano = caps.alert_nano(cap)
    if period.spent_nano < period.alert_nano:
        period.alerted = False
    elif period.alert_nano and not period.alerted:
        book.alert(period)


def _raise_ceiling(cap: Cap, period: CapPeriod) -> None:
    # What is spent and held already stays, whatever the limit is now.
    period.ceiling_nano = max(cap.limit_nano, period.spent_nano + period.held_nano)


def _accounts_of(book: Book, scope: str) -> Sequence[Account]:
    """The accounts that calls of a scope draw on. New keys of an organisation take the flag of its playground account."""
    if scope.startswith(KEY):
        return [book.accounts[book.keys[scope.removeprefix(KEY)].account_id]]
    organization = scope.removeprefix(ORGANIZATION)
    ids = {key.account_id for key in book.keys.values() if key.profile == organization}
    return [book.accounts[id_] for id_ in sorted(ids | {playground_id(organization)})]


def update(book: Book, request: CapUpdate) -> Rows:
    """Changes a cap's figures. Below what is spent it only stops new calls."""
    cap = book.caps.get(request.cap_id)
    if cap is None:
        return missing(f"cap {request.cap_id}")
    if cap.ended_ms:
        return Rows(problem=f"cap {cap.id} has ended")
    limit_nano = cap.limit_nano if request.limit_nano is None else request.limit_nano
    alert = cap.alert_percent if request.alert_percent is None else request.alert_percent
    if problem := _figures_problem(limit_nano, alert):
        return Rows(problem=problem)
    if (limit_nano, alert) != (cap.limit_nano, cap.alert_percent):
        cap.limit_nano, cap.alert_percent, cap.version = limit_nano, alert, cap.version + 1
        book.caps.touch(cap)
        for period in book.periods.values():
            if period.cap_id == cap.id:
                _raise_ceiling(cap, period)
                _alert_anew(book, cap, period)
                book.periods.touch(period)
    return Rows((cap_row(book, cap),))


def end(book: Book, request: CapEnd) -> Rows:
    """Ends a cap: calls in flight count in its periods to their end, new ones do not."""
    cap = book.caps.get(request.cap_id)
    if cap is None:
        return missing(f"cap {request.cap_id}")
    if not cap.ended_ms:
        cap.ended_ms, cap.version = book.now_ms, cap.version + 1
        book.caps.touch(cap)
        book.capped[cap.scope] = [one for one in book.capped.get(cap.scope, ()) if one.id != cap.id]
        _unflag(book, cap.scope)
    return Rows((cap_row(book, cap),))


def _unflag(book: Book, scope: str) -> None:
    """Takes the flag from accounts whose keys nothing bounds any more."""
    bound = {key.account_id for key in book.keys.values() if bounded(book, key)}
    bound |= {playground_id(one.id) for one in book.profiles.values() if bounded_together(book, one.id)}
    for account in _accounts_of(book, scope):
        if account.id not in bound:
            book.flag(account, limited=False)


def cap_row(book: Book, cap: Cap) -> dict[str, object]:
    """A cap as commands show it, with its current period."""
    return listed(cap, None if cap.ended_ms else caps.current(book, cap), book.now_ms)


def listed(cap: Cap, period: CapPeriod | None, now_ms: int) -> dict[str, object]:
    """A cap with the period that is the current one; None if it has ended, or begins with the next one."""
    kind = "key" if cap.scope.startswith(KEY) else "organization"
    begins = period is None and not cap.ended_ms
    return {
        "id": cap.id,
        "scope": {kind: cap.scope.partition(":")[2]},
        "period": cap.period,
        "timezone": cap.zone,
        "limit_nano": cap.limit_nano,
        "alert_percent": cap.alert_percent,
        "current": None if period is None else _period_row(cap, period),
        "begins_at": span(cap.period, cap.zone, now_ms).end_ms // 1000 if begins else None,
        "created": cap.created_ms // 1000,
        "ended_at": cap.ended_ms // 1000 or None,
        "version": cap.version,
    }


def _period_row(cap: Cap, period: CapPeriod) -> dict[str, object]:
    return {
        "starts_at": period.start_ms // 1000,
        "ends_at": period.end_ms // 1000 or None,
        "spent_nano": period.spent_nano,
        "held_nano": period.held_nano,
        "remaining_nano": caps.headroom_nano(cap, period),
        "alert": period.spent_nano * 100 >= cap.limit_nano * cap.alert_percent,
    }
