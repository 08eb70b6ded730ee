"""Owns the pages of keys: the list with its search, one key with all that bounds it, and how one is made."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from console.asking import RefusedError
from console.pages.key_forms import MONEY_NAMES
from console.pages.lengths import LENGTHS, OVERLAPS, ends_in_s
from console.pages.site import PageRow
from console.pages.sums import DAY_S, days, series, short, sums, total
from console.pages.visit import FormError, Visit, at, names_given
from schemas import keys
from schemas.admin.reads import (
    CALLS,
    CREDITS,
    KEY,
    KEYS,
    ORGANIZATIONS,
    CallsQuery,
    CreditsQuery,
    KeysQuery,
    OrganizationsQuery,
)
from schemas.bus.subjects import new_id
from schemas.verbs.base import VERSION
from schemas.verbs.caps import NewCap
from schemas.verbs.keys import KeyCreate, KeyRef
from web.charts import stacked
from web.figures import usd_about

PAGE_ROWS: Final = 25
STATUSES: Final = ("active", "paused", "expired", "revoked")
PERIODS: Final = (("day", "a day"), ("week", "a week"), ("month", "a month"), ("total", "in all"))
SOURCES: Final = (
    ("key", "Its own balance"),
    ("organization", "The organisation's wallet"),
    ("playground", "The organisation's playground credits"),
)
SPENT: Final = ("billed_nano", "refunded_nano")
HINT_CHARS: Final = 4
ORGANIZATIONS_MAX: Final = 200


async def listed(visit: Visit) -> Response:
    """Pages of keys, newest first."""
    asked = {
        name: visit.query.get(name, "").strip()[:200] for name in ("name", "status", "organization", "after")
    }
    secret = visit.query.get("secret", "")
    query = KeysQuery(
        limit=PAGE_ROWS,
        after=asked["after"],
        organization=asked["organization"],
        status=asked["status"] if asked["status"] in STATUSES else "",
        name="" if asked["name"].startswith("key_") else asked["name"],
        digest=_digest(secret),
    )
    if asked["name"].startswith("key_"):  # an id leads straight to its key
        return visit.see(at("keys", asked["name"]))
    found = await visit.rows(KEYS, query, "caps")
    months = await _months(visit, [row["id"] for row in found.rows])
    following = ""
    if found.cursor:
        following = "/keys?" + urlencode({**{k: v for k, v in asked.items() if v}, "after": found.cursor})
    return visit.page(
        "keys.html",
        modules=("filter.js",),
        rows=found.rows,
        months=months,
        asked=asked,
        secret=secret,
        statuses=[(one, one) for one in STATUSES],
        following=following,
        first="/keys" if asked["after"] else "",
    )


def _digest(text: str) -> bytes:
    """A key's SHA-256 as the browser has made it; of anything else one that no key has."""
    try:
        return bytes.fromhex(text)[:32]
    except ValueError:
        return b"\0" * 32


async def _months(visit: Visit, ids: list[str]) -> dict[str, int]:
    """What each key has spent this month."""
    since_s = int(datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp())
    if not ids or not visit.person.may("usage:read"):
        return {}
    found = await asyncio.gather(
        *(sums(visit, (), since_s=since_s, key_id=id_, figures=SPENT) for id_ in ids)
    )
    return {
        id_: total(rows, "billed_nano") - total(rows, "refunded_nano")
        for id_, rows in zip(ids, found, strict=True)
    }


async def new(visit: Visit) -> Response:
    """The form of a new key."""
    return await _form(visit)


async def _form(visit: Visit, errors: dict[str, str] | None = None) -> Response:
    found = await visit.rows(ORGANIZATIONS, OrganizationsQuery(limit=ORGANIZATIONS_MAX))
    return visit.page(
        "key_new.html",
        400 if errors else 200,
        organizations=[(row["id"], row["name"] or row["id"]) for row in found.rows],
        sources=SOURCES,
        periods=(("", "No cap"), *PERIODS),
        lengths=LENGTHS,
        errors=errors or {},
    )


async def create(visit: Visit) -> Response:
    """Makes a key, and shows it once: only its hash leaves this process."""
    secret = keys.generate()
    try:
        made = await visit.act("key_create", _wanted(visit, secret))
    except (FormError, RefusedError) as error:
        return await _form(visit, visit.refused(error))
    row = made.rows[0]
    return visit.page(
        "key_made.html",
        row=row,
        secret="" if made.replayed else secret,
        base_url=visit.desk.base_url,
        title="The key is made",
    )


def _wanted(visit: Visit, secret: str) -> KeyCreate:
    source = visit.text("draws_on") or "key"
    if source not in dict(SOURCES):
        raise FormError("draws_on", "Choose one of these.")
    balance = visit.usd("balance", least_nano=0)
    if balance and source != "key":
        raise FormError("balance", "A key that draws on another balance has none of its own.")
    caps: tuple[NewCap, ...] = ()
    if period := visit.text("cap_period"):
        if period not in dict(PERIODS):
            raise FormError("cap_period", "Choose one of these.")
        caps = (NewCap(new_id("cap_"), period, visit.usd("cap_usd")),)
    return KeyCreate(
        VERSION,
        keys.digest(secret),
        visit.text("name"),
        visit.text("organization") or "default",
        balance,
        names_given(visit.text("providers")) or None,
        source == "playground",
        secret[-HINT_CHARS:],
        names_given(visit.text("models")) or None,
        0,
        source == "organization",
        caps,
        expires_in_s=ends_in_s(visit.text("expires_in"), "expires_in"),
        rpm=visit.number("rpm", empty=0) or 0,
        tpm=visit.number("tpm", empty=0) or 0,
        in_flight=visit.number("in_flight", empty=0) or 0,
    )


async def one(visit: Visit) -> Response:
    """One key."""
    return await shown(visit)


async def shown(visit: Visit, errors: dict[str, str] | None = None, part: str = "") -> Response:
    """One key's page, after a form of one of its parts with what was wrong there."""
    id_ = visit.path["id"]
    now = datetime.now(UTC)
    first = datetime.fromtimestamp(time.time() - 29 * DAY_S, UTC)
    row, credits_, calls = await asyncio.gather(
        visit.row(KEY, KeyRef(VERSION, id_), "caps", "limits.used"),
        visit.rows_if(CREDITS, CreditsQuery(key=id_, limit=10)),
        visit.rows_if(CALLS, CallsQuery(key=id_, limit=10)),
    )
    by_day: list[dict[str, Any]] = []
    if visit.person.may("usage:read"):
        since_s = int(first.timestamp()) // DAY_S * DAY_S
        by_day = await sums(visit, ("day", "model"), since_s=since_s, key_id=id_)
    names = days(first, now)
    return visit.page(
        "key.html",
        400 if errors else 200,
        row=row,
        months=await _months(visit, [id_]),
        credits=credits_.rows,
        calls=calls.rows,
        chart=stacked(
            "Billed in the last 30 days, by model",
            [short(name) for name in names],
            series(by_day, names, "model", "billed_nano"),
            usd_about,
        ),
        periods=PERIODS,
        lengths=LENGTHS,
        overlaps=OVERLAPS,
        kinds=MONEY_NAMES,
        errors=errors or {},
        part=part,
    )


ROWS = (
    PageRow(path="/keys", show=listed, needs="keys:read", act=create, act_needs="keys:write"),
    PageRow(path="/keys/new", show=new, needs="keys:write"),
    PageRow(path="/keys/{id}", show=one, needs="keys:read"),
)
