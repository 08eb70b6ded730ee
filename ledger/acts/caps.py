"""Owns the acts on spend caps: making one, changing it, ending it."""

from ledger.acts import owners
from ledger.acts.base import Act, always
from ledger.commits.wanted import Capping, Wanted
from ledger.rules import capping as rules
from ledger.rules.book import Book
from ledger.rules.rows import Cap
from schemas.verbs.caps import CapCreate, CapEnd, CapUpdate


def _create_wants(names: Wanted, request: CapCreate, _digest: str) -> None:
    scope = rules.scope_of(request)
    if not scope or rules.problem_of(request.cap):
        return
    if request.key_id:
        names.key_ids.add(request.key_id)
    else:
        names.profiles.add(request.organization)
    names.capping.append(Capping(request.cap.cap_id, scope, request.cap.period, request.cap.zone))


def _update_wants(names: Wanted, request: CapUpdate, _digest: str) -> None:
    names.capping.append(Capping(request.cap_id))


def _end_wants(names: Wanted, request: CapEnd, _digest: str) -> None:
    names.capping.append(Capping(request.cap_id, ends=True))


def _of_new(book: Book, form: CapCreate) -> tuple[str, ...]:
    if form.key_id:
        return (owners.organization_of_key(book, form.key_id),)
    return (owners.organization(book, form.organization),)


def _named(book: Book, form: CapUpdate | CapEnd) -> Cap | None:
    return book.caps.get(form.cap_id)


def _of(book: Book, form: CapUpdate | CapEnd) -> tuple[str, ...]:
    cap = _named(book, form)
    if cap is None:
        return ("",)
    kind, _, id_ = cap.scope.partition(":")
    return (owners.organization_of_key(book, id_) if kind == "key" else id_,)


CAP_CREATE = Act(
    name="cap_create",
    form=CapCreate,
    wants=_create_wants,
    do=lambda book, form, _digest: rules.create(book, form),
    newer=always,
    scopes=("keys:write",),
    of=_of_new,
)
CAP_UPDATE = Act(
    name="cap_update",
    form=CapUpdate,
    wants=_update_wants,
    do=lambda book, form, _digest: rules.update(book, form),
    newer=always,
    scopes=("keys:write",),
    of=_of,
    version=_named,
)
CAP_END = Act(
    name="cap_end",
    form=CapEnd,
    wants=_end_wants,
    do=lambda book, form, _digest: rules.end(book, form),
    newer=always,
    scopes=("keys:write",),
    of=_of,
    version=_named,
)
