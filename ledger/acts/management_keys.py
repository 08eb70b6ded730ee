"""Owns the acts on management keys: making, changing and revoking one. Nobody gives more than he has."""

import msgspec

from ledger.acts.base import Act
from ledger.acts.operators import SCOPES
from ledger.commits.wanted import Wanted
from ledger.rules.authority_rows import ManagementKey, Standing
from ledger.rules.book import Book
from ledger.rules.grants import refused
from ledger.rules.keys import expiry_problem
from ledger.rules.missing import missing
from ledger.rules.people import management_key_row, organization_missing, scopes_problem, texts_problem
from ledger.rules.secrets import HINT_CHARS_MAX
from schemas.admin.authority import covers
from schemas.admin.management_keys import ManagementKeyCreate, ManagementKeyRef, ManagementKeyUpdate
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, ...]).decode


def key_id_of(digest: str) -> str:
    """A management key's public id: from its stored hash, so that making the same one twice makes one."""
    return f"mgk_{digest[:16]}"


def _create_wants(names: Wanted, form: ManagementKeyCreate, digest: str) -> None:
    names.management_keys.add(key_id_of(digest))
    if form.organization:
        names.profiles.add(form.organization)


def _above(book: Book, scopes: tuple[str, ...]) -> Rows | None:
    if covers(book.grant.scopes, scopes):
        return None
    return refused(Reason.MISSING_SCOPE, "you have not all of these scopes yourself")


def _create(book: Book, form: ManagementKeyCreate, digest: str) -> Rows:
    existing = book.people.keys.get(key_id_of(digest))
    if existing is not None:
        return refused(Reason.ALREADY_EXISTS, f"this secret is that of {existing.id} already")
    expires_ms = book.now_ms + form.expires_in_s * 1000 if form.expires_in_s else form.expires_ms
    problem = "" if len(form.digest) == 32 else "the digest is not a SHA-256"
    problem = (
        problem
        or texts_problem(form.name, form.organization)
        or scopes_problem(form.scopes)
        or expiry_problem(expires_ms, book.now_ms)
    )
    if problem:
        return Rows(problem=problem)
    if refusal := _above(book, form.scopes) or organization_missing(book, form.organization):
        return refusal
    made = book.people.keys.add(
        ManagementKey(
            id=key_id_of(digest),
            digest=digest,
            hint=form.hint[-HINT_CHARS_MAX:].replace("\x00", ""),
            name=form.name,
            scopes=_encode(form.scopes).decode(),
            organization=form.organization,
            status=Standing.ACTIVE,
            created_ms=book.now_ms,
            expires_ms=expires_ms,
            revoked_ms=0,
        )
    )
    return Rows((management_key_row(made, book.now_ms),))


def _change_wants(names: Wanted, form: ManagementKeyUpdate | ManagementKeyRef, _digest: str) -> None:
    names.management_keys.add(form.id)


def _update(book: Book, form: ManagementKeyUpdate, _digest: str) -> Rows:
    one = book.people.keys.get(form.id)
    if one is None:
        return missing(f"management key {form.id}")
    problem = texts_problem(form.name or "") or ("" if form.scopes is None else scopes_problem(form.scopes))
    if not problem and one.status != Standing.ACTIVE:
        problem = f"management key {one.id} is revoked, for good: make another"
    if problem:
        return Rows(problem=problem)
    if refusal := _above(book, _decode(one.scopes)) or _above(book, form.scopes or ()):
        return refusal
    scopes = one.scopes if form.scopes is None else _encode(form.scopes).decode()
    name = one.name if form.name is None else form.name
    if (name, scopes) != (one.name, one.scopes):
        one.name, one.scopes, one.version = name, scopes, one.version + 1
        book.people.keys.touch(one)
    return Rows((management_key_row(one, book.now_ms),))


def _revoke(book: Book, form: ManagementKeyRef, _digest: str) -> Rows:
    one = book.people.keys.get(form.id)
    if one is None:
        return missing(f"management key {form.id}")
    if refusal := _above(book, _decode(one.scopes)):
        return refusal
    if one.status == Standing.ACTIVE:
        one.status, one.revoked_ms, one.version = Standing.REVOKED, book.now_ms, one.version + 1
        book.people.keys.touch(one)
    return Rows((management_key_row(one, book.now_ms),))


def _named(book: Book, form: ManagementKeyUpdate | ManagementKeyRef) -> ManagementKey | None:
    return book.people.keys.get(form.id)


def _of(book: Book, form: ManagementKeyUpdate | ManagementKeyRef) -> tuple[str, ...]:
    one = _named(book, form)
    return ("" if one is None else one.organization,)


MANAGEMENT_KEY_CREATE = Act(
    name="management_key_create",
    form=ManagementKeyCreate,
    wants=_create_wants,
    do=_create,
    hashed=True,
    scopes=SCOPES,
    of=lambda _book, form: (form.organization,),
)
MANAGEMENT_KEY_UPDATE = Act(
    name="management_key_update",
    form=ManagementKeyUpdate,
    wants=_change_wants,
    do=_update,
    scopes=SCOPES,
    of=_of,
    version=_named,
)
MANAGEMENT_KEY_REVOKE = Act(
    name="management_key_revoke",
    form=ManagementKeyRef,
    wants=_change_wants,
    do=_revoke,
    scopes=SCOPES,
    of=_of,
    version=_named,
)
