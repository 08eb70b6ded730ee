"""Owns the books as files of a page: of some days, of one organisation or of all."""

from starlette.responses import Response

from console.exporting import ACT, PATIENCE, export
from console.pages.moments import day_s
from console.pages.site import Handler, PageRow
from console.pages.visit import FormError, Visit
from console.pieces import Pieces
from schemas.admin.reads import EXPORT
from schemas.verbs.base import Rows
from schemas.verbs.exports import EXPORTS, ExportBegin, ExportQuery


def _file(name: str) -> Handler:
    async def show(visit: Visit) -> Response:
        asked = {one: visit.query.get(one, "").strip()[:200] for one in ("from", "to", "organization")}
        since_s, until_s = day_s(asked["from"]), day_s(asked["to"], after=1)
        if 0 < until_s <= since_s:
            raise FormError("to", "The last day must not be before the first.")
        query = ExportQuery(
            name=name,
            since_ms=since_s * 1000,
            until_ms=until_s * 1000,
            organization=visit.person.organization or asked["organization"],
        )

        async def begin(form: ExportBegin) -> None:
            await visit.act(ACT, form)

        async def read(page: ExportQuery) -> Rows:
            return await visit.rows(EXPORT, page, patience=PATIENCE)

        pieces = export(query, begin, read, visit.desk.places, visit.credential.digest)
        return await Pieces.begun(pieces, f"{name}.csv")

    return show


ROWS = tuple(PageRow(path=f"/exports/{name}.csv", show=_file(name), needs=EXPORT.scope) for name in EXPORTS)
