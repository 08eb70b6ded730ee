"""Owns the acts on organisations: making one, changing it, suspending and resuming it."""

from ledger.acts.base import Act
from ledger.commits.wanted import Wanted
from ledger.rules import organizations as rules
from ledger.rules.book import Book
from ledger.rules.grants import refused
from ledger.rules.limits.base import organization_scope
from ledger.rules.rows import Status
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows
from schemas.verbs.organizations import OrganizationCreate, OrganizationUpdate


def _create_wants(names: Wanted, form: OrganizationCreate, _digest: str) -> None:
    names.owners.add(form.id)


def _update_wants(names: Wanted, form: OrganizationUpdate, _digest: str) -> None:
    names.owners.add(form.id)
    if form.status:
        names.organizations.add(form.id)
    if rules.changes_limits(form):
        names.scopes.add(organization_scope(form.id))
        names.profiles.add(form.id)


def _update(book: Book, form: OrganizationUpdate, _digest: str) -> Rows:
    profile, bound = book.profiles.get(form.id), book.grant.organization
    # A suspension is the deployment's word against an organisation, as after a dispute: its own people cannot lift it.
    if bound and profile is not None and form.status not in ("", profile.status):
        why = f"suspending and resuming is the deployment's, and you are bound to the organisation {bound}"
        return refused(Reason.ORGANIZATION_FORBIDDEN, why)
    return rules.organization_update(book, form)


ORG_CREATE = Act(
    name="org_create",
    form=OrganizationCreate,
    wants=_create_wants,
    do=lambda book, form, _digest: rules.organization_create(book, form),
    newer=lambda form: bool(form.rpm or form.tpm or form.in_flight),
    scopes=("keys:write",),
)
ORG_UPDATE = Act(
    name="org_update",
    form=OrganizationUpdate,
    wants=_update_wants,
    do=_update,
    newer=lambda form: form.status == Status.SUSPENDED or bool(form.rpm or form.tpm or form.in_flight),
    scopes=("keys:write",),
    of=lambda book, form: (form.id if form.id in book.profiles else "",),
    version=lambda book, form: book.profiles.get(form.id),
)
