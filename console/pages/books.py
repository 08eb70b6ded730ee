"""Owns the page of the books: whether they balance, what was put aside, what is uncollected, and who did what."""

import asyncio
import time
from typing import Any, Final

from starlette.responses import Response

from console.asking import RefusedError
from console.pages.site import PageRow
from console.pages.visit import FormError, Visit
from runtime.ledger import LedgerAwayError, once
from schemas.admin.reads import BOOKS, BOOKS_AUDIT, CREDITS, PARKED, CreditsQuery
from schemas.verbs.audit import AuditQuery
from schemas.verbs.base import VERSION
from schemas.verbs.money import WriteOff
from schemas.verbs.parked import ParkedQuery, ParkedRef

PARKED_SHOWN: Final = 50
BOOKS_S: Final = 3.0  # that the page waits for a proof; after that it says that one is being made


async def show(visit: Visit, errors: dict[str, str] | None = None, part: str = "") -> Response:
    """The page."""
    proof, parked, off = await asyncio.gather(
        _proof(visit),
        visit.rows(PARKED, ParkedQuery(limit=PARKED_SHOWN)),
        visit.rows(CREDITS, CreditsQuery(kind="write_off", limit=10)),
    )
    return visit.page(
        "books.html",
        400 if errors else 200,
        proof=proof,
        age_s=max(int(time.time()) - int(proof["proven_at"]), 0) if proof else None,
        parked=parked.rows,
        write_offs=off.rows,
        errors=errors or {},
        part=part,
    )


async def _proof(visit: Visit) -> dict[str, Any] | None:
    """The books' proof, at most a minute old; None while one is being made."""
    try:
        return dict((await visit.rows(BOOKS, AuditQuery(), patience=once(BOOKS_S))).rows[0])
    except LedgerAwayError:
        return None


async def audit(visit: Visit) -> Response:
    """Looks through the books now, however long that takes."""
    patience = once(visit.desk.limits.audit_s)
    await visit.rows(BOOKS_AUDIT, AuditQuery(), patience=patience)
    return visit.see("/books", "audited")


async def write_off(visit: Visit) -> Response:
    """Gives up a part of what is uncollected, or all of it."""
    try:
        amount = visit.usd("amount_usd") if visit.text("amount_usd") else 0
        await visit.act("write_off", WriteOff(VERSION, amount, visit.needed("reason", "A reason")))
    except (FormError, RefusedError) as error:
        return await show(visit, visit.refused(error), "write_off")
    return visit.see("/books", "written_off")


async def parked(visit: Visit) -> Response:
    """Bills an event that was put aside, or dismisses it."""
    what = "bill" if visit.text("what") == "bill" else "dismiss"
    try:
        attempt = visit.number("attempt", least=0, most=1_000) or 0
        form = ParkedRef(
            VERSION, visit.needed("request_id", "A call"), attempt, visit.needed("reason", "A reason")
        )
        await visit.act(f"parked_{what}", form)
    except (FormError, RefusedError) as error:
        return await show(visit, visit.refused(error), "parked")
    return visit.see("/books", "parked_billed" if what == "bill" else "parked_dismissed")


ROWS = (
    PageRow(path="/books", show=show, needs="money:read", deployment=True),
    PageRow(path="/books/audit", act=audit, act_needs="money:read", deployment=True),
    PageRow(path="/books/write-off", act=write_off, act_needs="money:write", deployment=True),
    PageRow(path="/books/parked", act=parked, act_needs="money:write", deployment=True),
)
