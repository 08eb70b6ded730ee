"""Owns the answers about pools: credit left by account, and what live workers say of themselves merged with it."""

from typing import Any

from msgspec import structs

from ledger.store.base import Store
from ledger.verbs.base import Read, Services
from schemas.bus.frames import AccountState, Beat, ModelBeat
from schemas.catalogue.model import Lifecycle, Model
from schemas.verbs import pools as verbs
from schemas.verbs.base import Rows
from schemas.verbs.pools import Inventory, InventoryReply, PoolsQuery

MODELS_SHOWN_MAX = 64  # of one account, over all its workers
_UNHEARD = {"state": "unknown", "inflight": 0, "capacity": 0, "misreported": 0}
_BEST_FIRST = (AccountState.OK, AccountState.COOLING, AccountState.SPENT, AccountState.REFUSED)


async def inventory(store: Store, pool: str) -> dict[str, int | None]:
    """Credit left by account of a pool; None is unlimited."""
    rows = await store.fetch(
        "SELECT u.pool, u.id, u.limited, a.posted_nano FROM upstream_accounts u "
        "LEFT JOIN accounts a ON a.id = 'upstream:' || u.pool || ':' || u.id WHERE u.pool = $1",
        pool,
    )
    return {row[1]: (row[3] or 0) if row[2] else None for row in rows}


async def _inventory(services: Services, request: Inventory) -> InventoryReply:
    return InventoryReply(await inventory(services.store, request.pool))


async def all_pools(services: Services, _request: PoolsQuery) -> Rows:
    """Each configured or living pool, by name."""
    live = services.beats.live()
    names = sorted(services.providers.keys() | live.keys())
    return Rows(
        tuple(
            [
                _row(services, name, live.get(name, []), await inventory(services.store, name))
                for name in names
            ]
        )
    )


def _row(services: Services, name: str, beats: list[Beat], credit: dict[str, int | None]) -> dict[str, Any]:
    served = {model for beat in beats for model in beat.models}
    reasons = {model: why for beat in beats for model, why in beat.missing.items()}
    reasons |= {model: "its provider says that it is gone" for beat in beats for model in beat.gone}
    return {
        "name": name,
        "provider": services.providers.get(name) or beats[0].provider,
        "workers": len(beats),
        "inflight": sum(beat.inflight for beat in beats),
        "capacity": sum(beat.capacity for beat in beats),
        "models": sorted(served),
        "missing": {
            model.id: reasons.get(model.id, "no worker serves it" if beats else "no worker runs")
            for model in services.committer.catalogue.models.values()
            if model.pool == name and model.id not in served and not _has_ended(model)
        },
        "unlisted": sorted({model for beat in beats for model in beat.unlisted}),
        "unpriced": sorted({model for beat in beats for model in beat.unpriced}),
        "accounts": accounts_of(beats, credit),
    }


def _has_ended(model: Model) -> bool:
    """Whether nobody is to serve it: its provider has shut it down."""
    return model.dated and model.lifecycle is Lifecycle.RETIRED


def accounts_of(beats: list[Beat], credit: dict[str, int | None]) -> list[dict[str, Any]]:
    """The accounts of a pool by id, as all its workers see them together; `credit` is by account."""
    rows: dict[str, dict[str, Any]] = {
        account_id: {"id": account_id, "credit_nano": left} | _UNHEARD for account_id, left in credit.items()
    }
    for beat in beats:
        for one in beat.accounts:
            row = rows.setdefault(one.id, {"id": one.id, "credit_nano": None} | _UNHEARD)
            # One worker that can use an account is enough.
            if row["state"] == "unknown" or _BEST_FIRST.index(one.state) < _BEST_FIRST.index(row["state"]):
                row |= {"state": one.state.value, "until": one.until, "reason": one.reason}
            if one.listed_at >= row.get("listed_at", 0.0):  # the newest word of any worker
                row |= {
                    "listed_at": one.listed_at,
                    "listed": one.listed,
                    "list_error": one.list_error,
                }
            row["inflight"] += one.inflight
            row["capacity"] += one.capacity
            row["misreported"] += one.misreported
    out = _models_out(beats)
    return [rows[account_id] | {"models": out.get(account_id, [])} for account_id in sorted(rows)]


def _models_out(beats: list[Beat]) -> dict[str, list[dict[str, Any]]]:
    """By account, the upstream models that some worker leaves alone there: as the worker says that does so for longest."""
    found: dict[tuple[str, str], tuple[ModelBeat, int]] = {}
    for beat in beats:
        for account in beat.accounts:
            for model in account.models:
                newest, workers = found.get((account.id, model.id), (model, 0))
                kept = max(newest, model, key=lambda one: one.until)
                found[account.id, model.id] = kept, workers + 1
    out: dict[str, list[dict[str, Any]]] = {}
    for (account_id, _), (model, workers) in sorted(found.items(), key=lambda item: -item[1][0].until):
        rows = out.setdefault(account_id, [])
        if len(rows) < MODELS_SHOWN_MAX:
            rows.append({**structs.asdict(model), "state": model.state.value, "workers": workers})
    return out


INVENTORY = Read(verb=verbs.INVENTORY, answer=_inventory)
POOLS = Read(verb=verbs.POOLS, answer=all_pools)
