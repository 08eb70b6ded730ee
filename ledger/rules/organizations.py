"""Owns what commands change of organisations, which are the profiles: what they are called, and whether their keys may call."""

from ledger.rules import labels
from ledger.rules.book import Book
from ledger.rules.keys import add_profile, add_wallet, bounded, low_problem, name_problem
from ledger.rules.limits import setting
from ledger.rules.limits.periods import is_zone
from ledger.rules.missing import missing
from ledger.rules.rows import Account, Profile, Status, playground_id
from schemas.admin.reasons import Reason
from schemas.money.amounts import usd_to_nano
from schemas.verbs.base import VERSION, Rows
from schemas.verbs.limits import LimitsSet
from schemas.verbs.organizations import OrganizationCreate, OrganizationUpdate


def organization_row(profile: Profile, wallet: Account | None) -> dict[str, object]:
    """An organisation as commands show it."""
    posted, held = (wallet.posted_nano, wallet.held_nano) if wallet else (0, 0)
    return {
        "id": profile.id,
        "name": profile.name,
        "email": profile.email,
        "status": profile.status,
        "timezone": profile.timezone or "UTC",
        "balance": {
            "posted_nano": posted,
            "held_nano": held,
            "available_nano": posted - held,
            "spent_nano": wallet.spent_nano if wallet else 0,
        },
        "playground": {"posted_nano": usd_to_nano(profile.playground_credits_usd)},
        "limits": setting.figures(profile),
        "low_balance_nano": (wallet.low_nano if wallet else 0) or None,
        "metadata": labels.read(profile.labels),
        "created": profile.created_ms // 1000,
        "version": profile.version,
    }


def _zone_problem(zone: str) -> str:
    return (
        "" if not zone or is_zone(zone) else "the time zone must be one of IANA's names, like Europe/Berlin"
    )


def organization_create(book: Book, request: OrganizationCreate) -> Rows:
    """Makes an organisation with a wallet. The same again is the same one; another under its id is refused."""
    if not request.id:
        return Rows(problem="an organisation needs an id")
    problem = (
        name_problem(request.id, request.name, request.email)
        or _zone_problem(request.timezone)
        or setting.problem_of(request.rpm, request.tpm, request.in_flight)
        or low_problem(request.low_balance_nano)
        or labels.problem(request.labels)
    )
    if problem:
        return Rows(problem=problem)
    profile = book.profiles.get(request.id)
    if profile is not None:
        if (profile.name, profile.email, profile.timezone) != (request.name, request.email, request.timezone):
            why = f"there is an organisation {request.id} already: change it with tokn org update"
            return Rows(problem=why, reason=Reason.ALREADY_EXISTS)
        return Rows((organization_row(profile, add_wallet(book, profile.id)),))
    profile = add_profile(book, request.id)
    profile.name, profile.email, profile.timezone = request.name, request.email, request.timezone
    profile.rpm, profile.tpm, profile.in_flight = request.rpm, request.tpm, request.in_flight
    profile.labels = labels.column(request.labels)
    wallet = add_wallet(book, profile.id)
    wallet.low_nano = request.low_balance_nano
    if profile.rpm or profile.tpm or profile.in_flight:  # new keys of it take the flag of these accounts
        for account in (wallet, book.accounts[playground_id(profile.id)]):
            book.flag(account, limited=True)
    return Rows((organization_row(profile, wallet),))


def organization_update(book: Book, request: OrganizationUpdate) -> Rows:
    """Changes an organisation. One that is suspended flags all accounts of its keys, so that their calls look for it."""
    profile = book.profiles.get(request.id)
    if profile is None:
        return missing(f"organisation {request.id}")
    if request.status not in ("", Status.ACTIVE, Status.SUSPENDED):
        return Rows(problem="an organisation can be active or suspended")
    problem = (
        name_problem(request.name or "", request.email or "")
        or _zone_problem(request.timezone or "")
        or low_problem(request.low_balance_nano)
        or setting.problem_of(*(value or 0 for value in (request.rpm, request.tpm, request.in_flight)))
        or labels.problem(request.labels)
    )
    if problem:
        return Rows(problem=problem)
    asked = {
        "name": request.name,
        "email": request.email,
        "timezone": request.timezone,
        "status": request.status or None,
        "labels": None if request.labels is None else labels.column(request.labels),
    }
    version = profile.version
    wanted = {
        name: value for name, value in asked.items() if value is not None and getattr(profile, name) != value
    }
    for name, value in wanted.items():
        setattr(profile, name, value)
    wallet = add_wallet(book, profile.id)
    if book.set_low(wallet, request.low_balance_nano) or wanted:
        profile.version += 1
        book.profiles.touch(profile)
    if "status" in wanted:
        _flag(book, profile)
    if changes_limits(request):
        setting.limits_set(
            book, LimitsSet(VERSION, "", profile.id, request.rpm, request.tpm, request.in_flight)
        )
        profile.version = min(profile.version, version + 1)  # it is one change
    return Rows((organization_row(profile, wallet),))


def changes_limits(request: OrganizationUpdate) -> bool:
    """Whether an update has a word on limits: then it needs all that counts in them."""
    return any(one is not None for one in (request.rpm, request.tpm, request.in_flight))


def _flag(book: Book, profile: Profile) -> None:
    together = bounded(book, profile)
    for account in book.belonging(profile.id):
        book.flag(account, limited=together or account.id in book.bounded)
