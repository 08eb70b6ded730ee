"""Owns the acts on keys: making one with its first balance, revoking it, and the credit of commands of before."""

from ledger.acts import owners
from ledger.acts.base import Act, always
from ledger.commits.wanted import Wanted
from ledger.rules import key_changes
from ledger.rules import keys as rules
from ledger.rules.book import Book
from ledger.rules.grants import GrantKind
from ledger.rules.keys import DEFAULT_PROFILE, balance_row, draws_on
from ledger.rules.limits.base import key_scope
from ledger.rules.missing import missing
from ledger.rules.money import posting
from ledger.rules.rows import Key
from schemas.verbs.base import Rows
from schemas.verbs.keys import Credit, KeyCreate, KeyRef, KeyRotate, KeyUpdate


def _create_wants(names: Wanted, form: KeyCreate, digest: str) -> None:
    names.digests.add(digest)
    names.profiles.add(form.profile or DEFAULT_PROFILE)
    names.owners.add(form.profile or DEFAULT_PROFILE)


def _change_wants(names: Wanted, form: KeyRef | KeyUpdate, _digest: str) -> None:
    names.changed_keys.add(form.key_id)
    names.secrets_of.add(form.key_id)
    if isinstance(form, KeyUpdate) and key_changes.changes_limits(form):
        names.scopes.add(key_scope(form.key_id))


def _create(book: Book, form: KeyCreate, digest: str) -> Rows:
    """Makes a key. A command may name an organisation that is not there yet; by the API that is a slip."""
    named = form.profile or DEFAULT_PROFILE
    if book.grant.kind != GrantKind.COMMAND and named != DEFAULT_PROFILE and named not in book.profiles:
        return missing(f"organisation {named}")
    return rules.key_create(book, form, digest)


def _rotate_wants(names: Wanted, form: KeyRotate, digest: str) -> None:
    names.digests.add(digest)
    names.changed_keys.add(form.key_id)
    names.secrets_of.add(form.key_id)


def _owner(form: Credit) -> str:
    if form.organization:
        return f"org:{form.organization}"
    return f"key:{form.key_id}" if form.key_id else f"playground:{form.profile}"


def _credit_wants(names: Wanted, form: Credit, _digest: str) -> None:
    names.deposits.add(form.request_id)
    owners.want(names, _owner(form))


def _credit(book: Book, form: Credit, _digest: str) -> Rows:
    """A deposit, once per request id: commands of before have no idempotency key."""
    if problem := posting.amount_problem(form.amount_nano):
        return Rows(problem=problem)
    if sum(map(bool, (form.key_id, form.profile, form.organization))) != 1:
        return Rows(problem="name either a key, an organisation or a profile")
    owner = owners.find(book, _owner(form))
    if isinstance(owner, Rows):
        return owner
    done = book.deposits.get(form.request_id)
    if done is not None:
        if (done.credit, done.amount_nano) != (owner.account.id, form.amount_nano):
            return Rows(problem="this request id was used for another credit")
    elif problem := owners.receiving_problem(owner):
        return Rows(problem=problem)
    elif posting.too_much(book, form.amount_nano):
        return Rows(problem=posting.FULL)
    else:
        posting.deposit(book, owner.account.id, form.amount_nano, form.request_id)
    row = balance_row(owner.id, owner.account)
    if draws_on(owner.account.id) != "key":
        row["account"] = owner.account.id
    return Rows((row,))


def _ends(form: KeyCreate | KeyUpdate) -> bool:
    return bool(form.expires_ms or form.expires_in_s)


def _of_new(book: Book, form: KeyCreate) -> tuple[str, ...]:
    """Its organisation, and that of the key which has this secret already, if one has it."""
    known = (key.profile for key in book.keys.values())  # none but this secret's is loaded
    return (form.profile or DEFAULT_PROFILE, *known)


def _named(book: Book, form: KeyRef | KeyUpdate | KeyRotate) -> Key | None:
    return book.keys.get(form.key_id)


def _of(book: Book, form: KeyRef | KeyUpdate | KeyRotate) -> tuple[str, ...]:
    return (owners.organization_of_key(book, form.key_id),)


KEY_CREATE = Act(
    name="key_create",
    form=KeyCreate,
    wants=_create_wants,
    do=_create,
    hashed=True,
    newer=lambda form: (
        _ends(form) or bool(form.models or form.caps or form.rpm or form.tpm or form.in_flight)
    ),
    scopes=("keys:write",),
    further=lambda form: ("money:write",) if form.posted_nano else (),
    of=_of_new,
)
KEY_UPDATE = Act(
    name="key_update",
    form=KeyUpdate,
    wants=_change_wants,
    do=lambda book, form, _digest: key_changes.key_update(book, form),
    newer=lambda form: _ends(form) or bool(form.models or form.rpm or form.tpm or form.in_flight),
    scopes=("keys:write",),
    of=_of,
    version=_named,
)
KEY_ROTATE = Act(
    name="key_rotate",
    form=KeyRotate,
    wants=_rotate_wants,
    do=key_changes.key_rotate,
    hashed=True,
    newer=always,
    scopes=("keys:write",),
    of=_of,
    version=_named,
)
KEY_REVOKE = Act(
    name="key_revoke",
    form=KeyRef,
    wants=_change_wants,
    do=lambda book, form, _digest: rules.key_revoke(book, form),
    scopes=("keys:write",),
    of=_of,
    version=_named,
)
CREDIT = Act(
    name="credit",
    form=Credit,
    wants=_credit_wants,
    do=_credit,
    scopes=("money:write",),
    of=lambda book, form: (owners.organization_of(book, _owner(form)),),
)
