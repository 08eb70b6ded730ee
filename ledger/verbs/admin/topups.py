"""Owns the reads of top-ups through a console: pages of them, and one with where it can be paid."""

from ledger.rules.grants import Grant
from ledger.rules.missing import missing
from ledger.rules.money.topups import topup_row
from ledger.rules.topup_rows import Topup
from ledger.verbs.admin.base import Reading, Where, bound, newest, one
from ledger.verbs.base import Services
from schemas.admin import reads
from schemas.admin.reads import TopupsQuery
from schemas.verbs.base import Rows
from schemas.verbs.topups import TopupRef


async def _topups(services: Services, grant: Grant, query: TopupsQuery) -> Rows:
    organization = bound(grant, query.organization)
    if organization is None:
        return Rows()
    where = Where()
    if organization:
        where.add("r.organization = {}", organization)
    found = await newest(services.store, Topup, where, limit=query.limit, after=query.after)
    if isinstance(found, Rows):
        return found
    return Rows(tuple(topup_row(row) for row in found[0]), cursor=found[1])


async def _topup(services: Services, grant: Grant, form: TopupRef) -> Rows:
    topup = await one(services.store, Topup, form.id)
    if topup is None or grant.organization not in ("", topup.organization):
        return missing(f"top-up {form.id}")
    return Rows((topup_row(topup),))


TOPUPS = Reading(question=reads.TOPUPS, answer=_topups)
TOPUP = Reading(question=reads.TOPUP, answer=_topup)
