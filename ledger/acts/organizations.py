"""Owns the acts on organisations: making one, changing it, suspending and resuming it."""

from ledger.acts.base import Act
from ledger.commits.wanted import Wanted
from ledger.rules import organizations as rules
from ledger.rules.limits.base import organization_scope
from ledger.rules.rows import Status
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
    do=lambda book, form, _digest: rules.organization_update(book, form),
    newer=lambda form: form.status == Status.SUSPENDED or bool(form.rpm or form.tpm or form.in_flight),
    scopes=("keys:write",),
    of=lambda book, form: (form.id if form.id in book.profiles else "",),
    version=lambda book, form: book.profiles.get(form.id),
)
