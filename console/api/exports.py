"""Owns the routes of exports: the books as files, of one moment, sent as a ledger reads them."""

from typing import Any, Final

from console.api.accept import CSV
from console.api.base import Call, Route
from console.api.errors import ApiError, invalid
from console.api.fields import Query, Seconds, Text
from console.exporting import ACT, PATIENCE, export
from console.pieces import AGAIN_S, BusyError, Pieces
from schemas.admin import reads
from schemas.verbs.base import Rows
from schemas.verbs.exports import CALLS, FOCUS, JOURNAL, ExportBegin, ExportQuery

_SUMMARIES: Final = {
    JOURNAL: "Export the journal: every transfer, with a last line that proves the file",
    CALLS: "Export calls, each with what it came to, with a last line that proves the file",
    FOCUS: "Export usage in FOCUS 1.2",
}


class ExportFilter(Query, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What was booked from one moment to just before another, and by whom; without them, all."""

    from_: Seconds = 0
    to: Seconds = 0
    organization: Text = ""


def _route(name: str) -> Route:
    async def handle(call: Call) -> Any:
        asked: ExportFilter = call.query
        if 0 < asked.to <= asked.from_:
            raise invalid("It must be after from.", "to")
        query = ExportQuery(
            name=name,
            since_ms=asked.from_ * 1000,
            until_ms=asked.to * 1000,
            organization=asked.organization or await call.organization(),
        )

        async def begin(form: ExportBegin) -> None:
            await call.act(ACT, form)

        async def read(page: ExportQuery) -> Rows:
            return await call.read(reads.EXPORT, page, PATIENCE)

        pieces = export(query, begin, read, call.means.places, call.credential.digest)
        try:
            return await Pieces.begun(pieces, f"{name}.csv")
        except BusyError as error:
            message = str(error)
            raise ApiError(
                429,
                "rate_limit_exceeded",
                f"{message[:1].upper()}{message[1:]}.",
                retry_after_s=AGAIN_S,
            ) from None

    return Route(
        method="GET",
        path=f"/exports/{name}.csv",
        summary=_SUMMARIES[name],
        what="organization",
        scope="money:read",
        query=ExportFilter,
        kinds=(CSV,),
        handle=handle,
    )


EXPORTS = tuple(_route(name) for name in _SUMMARIES)
