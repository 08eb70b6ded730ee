"""Owns what `expand` adds to rows: objects in the place of ids, one level deep."""

from collections.abc import Awaitable, Callable
from typing import Any

from ledger.rules.grants import Grant
from ledger.rules.limits import rates
from ledger.rules.limits.base import key_scope, organization_scope
from ledger.rules.rows import Cap, Profile, Rate, row_of
from ledger.store.statements import columns, table_of
from ledger.verbs.admin.base import selected
from ledger.verbs.admin.calls import CALL, refunds_of
from ledger.verbs.admin.caps import shown as shown_caps
from ledger.verbs.admin.organizations import shown as shown_organizations
from ledger.verbs.base import Services
from schemas.admin.reads import CallRef

_PROFILES_SQL = f"SELECT {selected(Profile, 'r')} FROM profiles AS r WHERE r.id "  # noqa: S608  made of our own column names
_CAPS_SQL = f"SELECT {columns(table_of(Cap))} FROM caps WHERE ended_ms = 0 AND scope "  # noqa: S608  as above
_RATES_SQL = f"SELECT {columns(table_of(Rate))} FROM rates WHERE scope "  # noqa: S608  as above
_Expand = Callable[[Services, Grant, list[dict[str, Any]]], Awaitable[None]]


def _scope(row: dict[str, Any]) -> str:
    return key_scope(row["id"]) if row["object"] == "key" else organization_scope(row["id"])


async def _organization(services: Services, _grant: Grant, rows: list[dict[str, Any]]) -> None:
    store = services.store
    found = await store.fetch(_PROFILES_SQL + store.among, store.array({row["organization"] for row in rows}))
    profiles = [row_of(Profile, (one[0], str(one[1]), *one[2:])) for one in found]
    by_id = {one["id"]: one for one in await shown_organizations(store, profiles)}
    for row in rows:
        row["organization"] = by_id.get(row["organization"], row["organization"])


async def _caps(services: Services, _grant: Grant, rows: list[dict[str, Any]]) -> None:
    store = services.store
    found = await store.fetch(f"{_CAPS_SQL}{store.among} ORDER BY id", store.array(map(_scope, rows)))
    caps = [row_of(Cap, one) for one in found]
    shown = await shown_caps(store, caps)
    for row in rows:
        row["caps"] = [told for cap, told in zip(caps, shown, strict=True) if cap.scope == _scope(row)]


async def _used(services: Services, _grant: Grant, rows: list[dict[str, Any]]) -> None:
    store = services.store
    found = await store.fetch(_RATES_SQL + store.among, store.array(map(_scope, rows)))
    counted = {one[0]: row_of(Rate, one) for one in found}
    for row in rows:
        row["limits"] = row["limits"] | {"used": rates.used(counted.get(_scope(row)), store.now_ms())}


async def _refunds(services: Services, _grant: Grant, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        refunded = row.get("refunded_nano", 0)
        row["refunds"] = list(await refunds_of(services.store, row["id"])) if refunded else []


async def _receipt(services: Services, grant: Grant, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        answer = await CALL.answer(services, grant, CallRef(1, row["id"]))
        row["receipt"] = answer.rows[0] if answer.rows else None


_BY_KIND: dict[str, dict[str, _Expand]] = {
    "key": {"organization": _organization, "caps": _caps, "limits.used": _used},
    "organization": {"caps": _caps, "limits.used": _used},
    "call": {"organization": _organization, "refunds": _refunds, "receipt": _receipt},
    "": {},
}


def known(kind: str) -> tuple[str, ...]:
    """What rows of a kind can be expanded by."""
    return tuple(_BY_KIND[kind])


async def expanded(
    services: Services, grant: Grant, kind: str, rows: tuple[dict[str, Any], ...], names: tuple[str, ...]
) -> tuple[dict[str, Any], ...]:
    """Rows with what was asked for; names that their kind does not know are none."""
    told = [dict(row) for row in rows]
    for name in sorted(set(names) & _BY_KIND[kind].keys(), reverse=True):  # receipts before what changes ids
        if told:
            await _BY_KIND[kind][name](services, grant, told)
    return tuple(told)
