"""Owns the parts of a page that have a form each: what a form does is one act, and leads back to the page or to what was wrong."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.responses import Response

from console.asking import RefusedError
from console.pages.site import Handler, PageRow
from console.pages.visit import FormError, Visit, at

Made = tuple[str, Any]  # an act's name and its form
Wanted = Callable[[Visit, str], Awaitable[Made]]  # what a form wants done to what has an id
Shown = Callable[
    [Visit, dict[str, str], str], Awaitable[Response]
]  # the page again, with what was wrong in a part


def part_rows(place: str, shown: Shown, parts: Iterable[tuple[str, str, str, Wanted]]) -> tuple[PageRow, ...]:
    """The addresses of a page's parts. Of each: its name, what is said once it is done, the scope it needs, what it wants."""
    return tuple(
        PageRow(
            path=f"/{place}/{{id}}/{part}", act=_changing(place, shown, part, said, wanted), act_needs=needs
        )
        for part, said, needs, wanted in parts
    )


def _changing(place: str, shown: Shown, part: str, said: str, wanted: Wanted) -> Handler:
    async def act(visit: Visit) -> Response:
        id_ = visit.path["id"]
        try:
            name, form = await wanted(visit, id_)
            await visit.act(name, form)
        except (FormError, RefusedError) as error:
            return await shown(visit, visit.refused(error), part)
        return visit.see(at(place, id_), said)

    return act
