"""Owns the answers about organisations: how each is read, and which rows a change needs."""

from ledger.acts import organizations as acts
from ledger.rules.missing import missing
from ledger.rules.organizations import organization_row
from ledger.rules.rows import Account, Profile, account_kind, row_of, wallet_id
from ledger.store.base import Row, Store
from ledger.store.queries import ORGANIZATION, ORGANIZATIONS
from ledger.verbs.acts import by_itself
from ledger.verbs.base import Acts, Read
from ledger.verbs.keys import PAGE_MAX
from schemas.verbs import organizations as verbs
from schemas.verbs.base import Rows
from schemas.verbs.organizations import OrganizationList

_PROFILE_WIDTH = len(Profile.__struct_fields__)


def _shown(row: Row) -> dict[str, object]:
    profile = row_of(Profile, (row[0], str(row[1]), *row[2:_PROFILE_WIDTH]))
    posted, held, spent, low = row[_PROFILE_WIDTH:]
    id_ = wallet_id(profile.id)
    wallet = Account(
        id=id_,
        kind=account_kind(id_),
        posted_nano=posted or 0,
        held_nano=held or 0,
        spent_nano=spent or 0,
        low_nano=low or 0,
    )
    return organization_row(profile, wallet)


async def org_list(store: Store, query: OrganizationList) -> Rows:
    """A page of organisations, by id."""
    limit = min(max(query.limit, 1), PAGE_MAX)
    rows = await ORGANIZATIONS.fetch(store, after=query.after, limit=limit)
    return Rows(tuple(map(_shown, rows)), cursor=rows[-1][0] if len(rows) == limit else "")


async def org_show(store: Store, id_: str) -> Rows:
    """One organisation."""
    rows = await ORGANIZATION.fetch(store, id=id_)
    return Rows((_shown(rows[0]),)) if rows else missing(f"organisation {id_}")


ORG_CREATE = Acts(verb=verbs.ORG_CREATE, command=by_itself(acts.ORG_CREATE))
ORG_LIST = Read(verb=verbs.ORG_LIST, answer=lambda services, request: org_list(services.store, request))
ORG_SHOW = Read(verb=verbs.ORG_SHOW, answer=lambda services, request: org_show(services.store, request.id))
ORG_UPDATE = Acts(verb=verbs.ORG_UPDATE, command=by_itself(acts.ORG_UPDATE))
