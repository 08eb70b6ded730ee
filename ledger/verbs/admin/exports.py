"""Owns pages of exports through a console: of the organisation that a credential is bound to, if it is."""

from msgspec import structs

from ledger.rules.grants import Grant
from ledger.rules.missing import missing
from ledger.verbs.admin.base import Reading, bound
from ledger.verbs.base import Services
from ledger.verbs.exports import export_page
from schemas.admin import reads
from schemas.verbs.base import Rows
from schemas.verbs.exports import ExportQuery


async def _export(services: Services, grant: Grant, query: ExportQuery) -> Rows:
    organization = bound(grant, query.organization)
    if organization is None:
        return missing("such organisation")
    return await export_page(services, structs.replace(query, organization=organization))


EXPORT = Reading(question=reads.EXPORT, answer=_export)
