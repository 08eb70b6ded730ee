"""Owns the routes of calls: one for each dialect, all answered alike."""

from functools import partial

from edge.calls import answer
from edge.http.exchange import Exchange
from edge.routes.endpoint import Backing, Row
from schemas.dialects import DIALECTS
from schemas.dialects.base import Dialect


async def serve(dialect: Dialect, backing: Backing, exchange: Exchange) -> None:
    """Answers one call in its caller's dialect."""
    call, taken = await backing.admission.admit(exchange, dialect)
    try:
        exchange.connection.on_hangup(call.hang_up)
        if call.stream:
            await answer.stream(exchange, call, dialect)
        else:
            await answer.plain(exchange, call)
    finally:
        exchange.connection.on_hangup(None)
        call.hang_up()
        backing.budget.give_back(taken + call.reserved)
        answer.measure(dialect.name, call)


ROUTES = tuple(
    Row(
        path=dialect.path,
        name=dialect.name,
        methods=("POST",),
        handler=partial(serve, dialect),
        envelope=dialect,
    )
    for dialect in DIALECTS
)
