"""Owns the read of sums of usage through a console: by the organisation that a credential is bound to, if it is."""

from typing import Any

from msgspec import structs

from ledger.rules.grants import Grant
from ledger.verbs.admin.base import Reading, bound
from ledger.verbs.base import Services
from ledger.verbs.sums import sums_page
from schemas.admin import reads
from schemas.verbs.base import Rows
from schemas.verbs.sums import SumsQuery

_TOKENS = "_tokens"


async def _usage(services: Services, grant: Grant, query: SumsQuery) -> Rows:
    organization = bound(grant, query.organization)
    if organization is None:
        return Rows()
    answer = await sums_page(services, structs.replace(query, organization=organization))
    rest = None if answer.rest is None else _shown(answer.rest, grant)
    return structs.replace(answer, rows=tuple(_shown(row, grant) for row in answer.rows), rest=rest)


def _shown(row: dict[str, Any], grant: Grant) -> dict[str, Any]:
    """A bucket: its tokens by class together, and our cost for whoever is bound to no organisation."""
    tokens = {name.removesuffix(_TOKENS): value for name, value in row.items() if name.endswith(_TOKENS)}
    rest = {name: value for name, value in row.items() if not name.endswith(_TOKENS)}
    start = next((rest.pop(name) for name in ("hour", "day", "month") if name in rest), None)
    cost = None if grant.organization else row.get("cost_nano")
    return {**rest, "object": "usage_bucket", "start": start, "tokens": tokens, "cost_nano": cost}


USAGE = Reading(question=reads.USAGE, answer=_usage)
