"""Owns what a command does to rate limits: it sets them, and calls in flight count in them from then on."""

from ledger.rules.book import Book
from ledger.rules.counted import counted
from ledger.rules.limits.base import count, key_scope, organization_scope
from ledger.rules.missing import missing, missing_key
from ledger.rules.rows import HoldState, Key, Profile, playground_id
from schemas.verbs.base import Rows
from schemas.verbs.limits import LimitsSet

LIMIT_MAX = 10**9
_NAMES = ("rpm", "tpm", "in_flight")


def scope_of(request: LimitsSet) -> str:
    """The scope that a command is about."""
    return key_scope(request.key_id) if request.key_id else organization_scope(request.profile)


def limits_row(owner: Key | Profile) -> dict[str, object]:
    """The limits of a key or profile as commands show them; None for none."""
    return {"id": owner.id, **figures(owner)}


def figures(owner: Key | Profile) -> dict[str, int | None]:
    """The limits of a key or profile, None for none."""
    return {
        "requests_per_minute": owner.rpm or None,
        "tokens_per_minute": owner.tpm or None,
        "in_flight": owner.in_flight or None,
    }


def problem_of(*limits: int) -> str:
    """Why limits cannot be as asked; empty if they can. 0 is for none."""
    if any(not 0 <= value <= LIMIT_MAX for value in limits):
        return f"a limit is at least 1 and at most {LIMIT_MAX}"
    return ""


def limits_set(book: Book, request: LimitsSet) -> Rows:
    """Sets limits. The accounts of all keys that they bound are locked."""
    if bool(request.key_id) == bool(request.profile):
        return Rows(problem="name either a key or an organisation")
    asked = {name: value for name in _NAMES if (value := getattr(request, name)) is not None}
    if problem := problem_of(*asked.values()):
        return Rows(problem=problem)
    owner: Key | Profile | None
    if request.key_id:
        owner = book.keys.get(request.key_id)
        if owner is None:
            return missing_key(request.key_id)
        keys = [owner]
    else:
        owner = book.profiles.get(request.profile)
        if owner is None:
            return missing(f"organisation {request.profile}")
        keys = [key for key in book.keys.values() if key.profile == request.profile]
    if any(getattr(owner, name) != value for name, value in asked.items()):
        for name, value in asked.items():
            setattr(owner, name, value)
        owner.version += 1
        if isinstance(owner, Key):
            book.keys.touch(owner)
        else:
            book.profiles.touch(owner)
        accounts = {key.account_id for key in keys}
        if request.profile:  # whose flag new keys of the organisation take
            accounts.add(playground_id(request.profile))
        _adopt(book, scope_of(request), keys, sorted(accounts))
    return Rows((limits_row(owner),))


def _adopt(book: Book, scope: str, keys: list[Key], accounts: list[str]) -> None:
    """Makes the next commits look for limits of these keys, and counts their calls in flight."""
    ids = {key.id for key in keys}
    for id_ in accounts:
        book.flag(book.accounts[id_], limited=True)
    rate = book.rates[scope]
    for hold in book.holds.values():
        if hold.key_id in ids and hold.state == HoldState.OPEN and scope not in counted(hold).r:
            count(book, hold, r=(*counted(hold).r, scope))
            rate.in_flight += 1
    book.rates.touch(rate)
