"""Owns the act that sets rate limits, and shows them where it sets none."""

from ledger.acts import owners
from ledger.acts.base import Act
from ledger.commits.wanted import Wanted
from ledger.rules.limits import setting
from schemas.verbs.limits import LimitsSet


def _wants(names: Wanted, form: LimitsSet, _digest: str) -> None:
    names.scopes.add(setting.scope_of(form))
    if form.profile:
        names.profiles.add(form.profile)


LIMITS_SET = Act(
    name="limits_set",
    form=LimitsSet,
    wants=_wants,
    do=lambda book, form, _digest: setting.limits_set(book, form),
    newer=lambda form: bool(form.rpm or form.tpm or form.in_flight),
    scopes=("keys:write",),
    of=lambda book, form: (owners.organization_of(book, setting.scope_of(form)),),
)
