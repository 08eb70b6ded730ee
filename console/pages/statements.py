"""Owns a monthly statement as people see it: a sheet that prints, and its lines as CSV."""

from starlette.responses import Response

from console.pages.site import PageRow
from console.pages.visit import FormError, Visit, at, sentence
from console.pieces import Pieces
from console.statements import ChangedError, Read, csv_of, sheet_of
from schemas.admin.reads import STATEMENT, StatementRef
from schemas.verbs.base import Rows


def _reading(visit: Visit) -> Read:
    async def read(ref: StatementRef) -> Rows:
        return await visit.rows(STATEMENT, ref)

    return read


async def show(visit: Visit) -> Response:
    """The sheet."""
    id_ = visit.path["id"]
    try:
        sheet = await sheet_of(id_, _reading(visit))
    except ChangedError as error:
        raise FormError("", sentence(str(error))) from None
    ways = [(at("statements", id_, "csv"), "CSV")]
    if visit.person.may("keys:read"):
        ways.insert(0, (at("organizations", sheet.statement["organization"]), "The organisation"))
    return Response(sheet.page(visit.desk.pages, ways=ways), media_type="text/html")


async def csv(visit: Visit) -> Response:
    """The lines."""
    id_ = visit.path["id"]
    try:
        return await Pieces.begun(csv_of(id_, _reading(visit)), f"{id_}.csv")
    except ChangedError as error:
        raise FormError("", sentence(str(error))) from None


ROWS = (
    PageRow(path="/statements/{id}", show=show, needs=STATEMENT.scope),
    PageRow(path="/statements/{id}/csv", show=csv, needs=STATEMENT.scope),
)
