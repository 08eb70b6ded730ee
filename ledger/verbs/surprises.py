"""Owns the answers about surprises: all that are in the books, and which of them a person has looked at."""

from typing import Any

from ledger.acts import surprises as acts
from ledger.commits.load_save import surprise_rows
from ledger.store.base import Store
from ledger.verbs.acts import by_itself
from ledger.verbs.base import Acts, Read
from schemas.verbs import surprises as verbs
from schemas.verbs.base import Rows

_SHOWN = ("pool", "account", "upstream", "uplift", "request_id")


async def surprises(store: Store) -> Rows:
    """Every surprise, the first that was met first."""
    rows: list[dict[str, Any]] = [
        {**dict(zip(_SHOWN, row, strict=False)), "created": row[-1] // 1000}
        for row in await surprise_rows(store.fetch)
    ]
    return Rows(tuple(rows))


SURPRISES = Read(verb=verbs.SURPRISES, answer=lambda services, _request: surprises(services.store))
SURPRISES_FORGET = Acts(verb=verbs.SURPRISES_FORGET, command=by_itself(acts.SURPRISES_FORGET))
