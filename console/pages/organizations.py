"""Owns the pages of organisations: who there is, and one with its wallet, its keys, what bounds it, and its credits."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from starlette.responses import Response

from console.asking import RefusedError
from console.pages.key_forms import MONEY_NAMES, cap_form, limit_figures, money_act
from console.pages.keys import PERIODS, STATUSES
from console.pages.lengths import LENGTHS
from console.pages.parts import Made, part_rows
from console.pages.site import PageRow
from console.pages.visit import FormError, Visit, at
from schemas.admin.reads import (
    CREDITS,
    KEYS,
    ORGANIZATION,
    ORGANIZATIONS,
    STATEMENTS,
    TOPUPS,
    CreditsQuery,
    KeysQuery,
    OrganizationsQuery,
    StatementRef,
    StatementsQuery,
    TopupsQuery,
)
from schemas.admin.verbs import STATEMENT_ISSUE
from schemas.verbs.base import VERSION, Rows
from schemas.verbs.money import Move
from schemas.verbs.organizations import OrganizationCreate, OrganizationRef, OrganizationUpdate

PAGE_ROWS: Final = 50
MONTHS: Final = 13
TOPUPS_SHOWN: Final = 10


async def listed(visit: Visit, errors: dict[str, str] | None = None) -> Response:
    """Pages of organisations."""
    after = visit.query.get("after", "")
    name = visit.query.get("name", "").strip()[:200]
    found = await visit.rows(ORGANIZATIONS, OrganizationsQuery(limit=PAGE_ROWS, after=after, name=name))
    return visit.page(
        "organizations.html",
        400 if errors else 200,
        modules=("filter.js",),
        rows=found.rows,
        sought=name,
        following=f"/organizations?after={found.cursor}" if found.cursor else "",
        first="/organizations" if after else "",
        errors=errors or {},
    )


async def create(visit: Visit) -> Response:
    """Makes an organisation."""
    try:
        id_ = visit.needed("id", "An id")
        form = OrganizationCreate(
            VERSION, id_, visit.text("name"), visit.text("email"), visit.text("timezone")
        )
        await visit.act("org_create", form)
    except (FormError, RefusedError) as error:
        return await listed(visit, visit.refused(error))
    return visit.see(at("organizations", id_), "org_made")


async def one(visit: Visit) -> Response:
    """One organisation."""
    return await shown(visit)


async def _nothing() -> Rows:
    return Rows()


async def shown(visit: Visit, errors: dict[str, str] | None = None, part: str = "") -> Response:
    """One organisation's page, after a form of one of its parts with what was wrong there."""
    id_ = visit.path["id"]
    months = StatementsQuery(organization=id_, limit=MONTHS, after=visit.query.get("months", ""))
    row, keys, credits_, statements, topups = await asyncio.gather(
        visit.row(ORGANIZATION, OrganizationRef(VERSION, id_), "caps", "limits.used"),
        visit.rows(KEYS, KeysQuery(organization=id_, limit=PAGE_ROWS)),
        visit.rows_if(CREDITS, CreditsQuery(organization=id_, limit=20)),
        visit.rows_if(STATEMENTS, months),
        visit.rows_if(TOPUPS, TopupsQuery(organization=id_, limit=TOPUPS_SHOWN))
        if visit.desk.payments
        else _nothing(),
    )
    return visit.page(
        "organization.html",
        400 if errors else 200,
        row=row,
        keys=keys.rows,
        more=bool(keys.cursor),
        credits=credits_.rows,
        statements=statements.rows,
        issuable=_issuable(statements.rows),
        older=f"{at('organizations', id_)}?months={statements.cursor}" if statements.cursor else "",
        topups=topups.rows,
        periods=PERIODS,
        statuses=STATUSES,
        lengths=LENGTHS,
        kinds=MONEY_NAMES,
        errors=errors or {},
        part=part,
    )


def _issuable(statements: Sequence[dict[str, Any]]) -> str:
    """The oldest month that is over and has no number: months are issued in their order."""
    now_s = time.time()
    over = [row["id"] for row in statements if row["status"] == "draft" and row["ends_at"] <= now_s]
    return over[-1] if over else ""


async def _issue(visit: Visit, _id: str) -> Made:
    return STATEMENT_ISSUE, StatementRef(VERSION, visit.needed("statement", "A statement"))


async def _update(visit: Visit, id_: str) -> Made:
    name, email, zone = (visit.text(field) for field in ("name", "email", "timezone"))
    return "org_update", OrganizationUpdate(VERSION, id_, name=name, email=email, timezone=zone)


async def _suspend(_visit: Visit, id_: str) -> Made:
    return "org_update", OrganizationUpdate(VERSION, id_, status="suspended")


async def _resume(_visit: Visit, id_: str) -> Made:
    return "org_update", OrganizationUpdate(VERSION, id_, status="active")


async def _limits(visit: Visit, id_: str) -> Made:
    rpm, tpm, in_flight = limit_figures(visit)
    return "org_update", OrganizationUpdate(VERSION, id_, rpm=rpm, tpm=tpm, in_flight=in_flight)


async def _cap(visit: Visit, id_: str) -> Made:
    return "cap_create", cap_form(visit, organization=id_)


async def _money(visit: Visit, id_: str) -> Made:
    balance = visit.text("balance") or "org"
    if balance not in {"org", "playground"}:
        raise FormError("balance", "Choose one of these.")
    return money_act(visit, f"{balance}:{id_}")


async def _move(visit: Visit, id_: str) -> Made:
    key = f"key:{visit.needed('key', 'A key')}"
    wallet = f"org:{id_}"
    source, target = (key, wallet) if visit.text("way") == "back" else (wallet, key)
    return "move", Move(VERSION, source, target, visit.usd("amount_usd"), visit.needed("reason", "A reason"))


ROWS = (
    PageRow(path="/organizations", show=listed, needs="keys:read", act=create, act_needs="keys:write"),
    PageRow(path="/organizations/{id}", show=one, needs="keys:read"),
    *part_rows(
        "organizations",
        shown,
        (
            ("update", "updated", "keys:write", _update),
            ("suspend", "suspended", "keys:write", _suspend),
            ("resume", "org_resumed", "keys:write", _resume),
            ("limits", "limits", "keys:write", _limits),
            ("caps", "cap_made", "keys:write", _cap),
            ("money", "booked", "money:write", _money),
            ("move", "moved", "money:write", _move),
            ("issue", "issued", "money:write", _issue),
        ),
    ),
)
