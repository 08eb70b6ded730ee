"""Owns the acts on operators: making, changing and removing one. The last owner of the deployment stays."""

from typing import TypeVar

from ledger.acts.base import Act
from ledger.commits.wanted import Wanted
from ledger.rules.authority_rows import Operator, Session, SignInToken, Standing
from ledger.rules.book import Book
from ledger.rules.grants import refused
from ledger.rules.missing import missing
from ledger.rules.people import operator_row, organization_missing, role_problem, texts_problem
from ledger.rules.rowset import RowSet
from schemas.admin.authority import ROLES, OperatorRole, covers
from schemas.admin.operators import OperatorCreate, OperatorRef, OperatorUpdate
from schemas.admin.reasons import Reason
from schemas.bus.subjects import new_id
from schemas.verbs.base import Rows

SCOPES = ("operators:write",)
_Ended = TypeVar("_Ended", Session, SignInToken)


def add_operator(book: Book, *, name: str, email: str, role: str, organization: str) -> Operator:
    """One more operator."""
    return book.people.operators.add(
        Operator(
            id=new_id("opr_"),
            name=name,
            email=email,
            role=role,
            organization=organization,
            status=Standing.ACTIVE,
            created_ms=book.now_ms,
            removed_ms=0,
        )
    )


def above(book: Book, role: str) -> Rows | None:
    """The answer where an operator is to have more than whoever gives it."""
    if covers(book.grant.scopes, ROLES[OperatorRole(role)]):
        return None
    return refused(Reason.MISSING_SCOPE, f"you have not all that the role {role} may")


def _create_wants(names: Wanted, form: OperatorCreate, _digest: str) -> None:
    if form.organization:
        names.profiles.add(form.organization)


def _create(book: Book, form: OperatorCreate, _digest: str) -> Rows:
    if problem := texts_problem(form.name, form.email, form.organization) or role_problem(form.role):
        return Rows(problem=problem)
    if not form.name.strip():
        return Rows(problem="an operator needs a name")
    if refusal := above(book, form.role) or organization_missing(book, form.organization):
        return refusal
    made = add_operator(
        book, name=form.name, email=form.email, role=form.role, organization=form.organization
    )
    return Rows((operator_row(made),))


def active(book: Book, id_: str) -> Operator | None:
    """An operator who has not been removed."""
    one = book.people.operators.get(id_)
    return one if one is not None and one.status == Standing.ACTIVE else None


def _update_wants(names: Wanted, form: OperatorUpdate, _digest: str) -> None:
    names.operators.add(form.id)
    names.owner_operators = True
    if form.organization:
        names.profiles.add(form.organization)


def _update(book: Book, form: OperatorUpdate, _digest: str) -> Rows:
    one = active(book, form.id)
    if one is None:
        return missing(f"operator {form.id}")
    problem = texts_problem(form.name or "", form.email or "", form.organization or "")
    problem = problem or ("" if form.role is None else role_problem(form.role))
    if problem:
        return Rows(problem=problem)
    if form.name is not None and not form.name.strip():
        return Rows(problem="an operator needs a name")
    asked = {name: getattr(form, name) for name in ("name", "email", "role", "organization")}
    wanted = {name: value for name, value in asked.items() if value not in (None, getattr(one, name))}
    refusal = above(book, one.role) or organization_missing(book, form.organization or "")
    refusal = refusal or (above(book, form.role) if form.role is not None else None)
    if {"role", "organization"} & wanted.keys():
        refusal = refusal or _last_owner(book, one)
    if refusal:
        return refusal
    for name, value in wanted.items():
        setattr(one, name, value)
    if wanted:
        one.version += 1
        book.people.operators.touch(one)
    return Rows((operator_row(one),))


def _last_owner(book: Book, one: Operator) -> Rows | None:
    owners = [
        each.id
        for each in book.people.operators.values()
        if each.role == OperatorRole.OWNER and not each.organization and each.status == Standing.ACTIVE
    ]
    if owners == [one.id]:
        return refused(Reason.LAST_OWNER, "this is the last owner: make another first")
    return None


def _remove_wants(names: Wanted, form: OperatorRef, _digest: str) -> None:
    names.operators.add(form.id)
    names.owner_operators = True


def _remove(book: Book, form: OperatorRef, _digest: str) -> Rows:
    one = active(book, form.id)
    if one is None:
        return missing(f"operator {form.id}")
    if refusal := above(book, one.role) or _last_owner(book, one):
        return refusal
    one.status, one.removed_ms, one.version = Standing.REMOVED, book.now_ms, one.version + 1
    book.people.operators.touch(one)
    _end(book, book.people.sessions, one)
    _end(book, book.people.tokens, one)
    return Rows((operator_row(one),))


def _end(book: Book, rows: RowSet[_Ended], of: Operator) -> None:
    for row in rows.values():
        if row.operator == of.id and not row.ended_ms:
            row.ended_ms = book.now_ms
            rows.touch(row)


def of_operator(book: Book, form: OperatorUpdate | OperatorRef) -> tuple[str, ...]:
    """The organisation of an operator who is named, and the one that he is to have."""
    one = active(book, form.id)
    then = form.organization if isinstance(form, OperatorUpdate) else None
    return ("" if one is None else one.organization, *(() if then is None else (then,)))


OPERATOR_CREATE = Act(
    name="operator_create",
    form=OperatorCreate,
    wants=_create_wants,
    do=_create,
    scopes=SCOPES,
    of=lambda _book, form: (form.organization,),
)
OPERATOR_UPDATE = Act(
    name="operator_update",
    form=OperatorUpdate,
    wants=_update_wants,
    do=_update,
    scopes=SCOPES,
    of=of_operator,
    version=lambda book, form: active(book, form.id),
)
OPERATOR_REMOVE = Act(
    name="operator_remove",
    form=OperatorRef,
    wants=_remove_wants,
    do=_remove,
    scopes=SCOPES,
    of=of_operator,
    version=lambda book, form: active(book, form.id),
)
