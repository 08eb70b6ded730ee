"""Owns the answers about models: pages of them with price and state, and one that is explained."""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ledger.verbs.base import Read, Services
from ledger.verbs.explain import explained
from ledger.verbs.pools import inventory
from ledger.verbs.view import Picture, View
from schemas.catalogue.model import Model
from schemas.catalogue.unrouted import Unrouted
from schemas.verbs import models as verbs
from schemas.verbs.base import Rows
from schemas.verbs.models import PAGE_MAX, ModelRef, ModelsQuery, State

SCANNED_AT_ONCE: Final = 128  # models that are looked at between two turns of the loop
DAYS_MAX: Final = 36_500

_Listed = Model | Unrouted | list[str]  # the last: pools whose accounts list what has no price


def view_of(services: Services) -> View:
    """The models as they stand now."""
    picture = Picture(services.beats.live(), services.providers.keys())
    return View(services.committer.catalogue, picture, datetime.now(UTC).date())


async def page(view: View, query: ModelsQuery) -> Rows:
    """One page. Its cursor is the next one's `after`, "" at the end."""
    listed = dict(_listed(view))
    order = sorted(listed) if query.expiring_days is None else await _by_end(view, query.expiring_days)
    limit = max(1, min(query.limit, PAGE_MAX))
    rows: list[dict[str, Any]] = []
    last = ""
    for number, key in enumerate(order[bisect_right(order, query.after) :]):
        if number % SCANNED_AT_ONCE == 0:
            await asyncio.sleep(0)
        name = key if query.expiring_days is None else key.partition(" ")[2]
        one = listed[name]
        if not _fits(view, query, name, one):
            continue
        if len(rows) == limit:
            return Rows(tuple(rows), cursor=last)
        rows.append(view.row(one) if isinstance(one, Model) else _unsold(view, name, one))
        last = key
        await asyncio.sleep(0)  # a successor may have been looked for among all models
    return Rows(tuple(rows), cursor="")


def _listed(view: View) -> Iterator[tuple[str, _Listed]]:
    """All that there is by id: what nobody can price, what has no route, and above them the catalogue."""
    yield from view.picture.unpriced.items()
    yield from ((model.id, model) for model in view.sold.unrouted)
    yield from view.sold.models.items()


async def _by_end(view: View, days: int) -> list[str]:
    """The keys of the models that end here within so many days, the soonest first: the day, and the id."""
    last = view.day + timedelta(days=max(0, min(days, DAYS_MAX)))
    found = []
    for number, model in enumerate(view.sold.sorted):
        if number % SCANNED_AT_ONCE == 0:
            await asyncio.sleep(0)
        ends = view.stands(model).ends
        if ends is not None and view.day < ends <= last:
            found.append(f"{ends.isoformat()} {model.id}")
    return sorted(found)


def _fits(view: View, query: ModelsQuery, name: str, one: _Listed) -> bool:
    if query.text.casefold() not in name.casefold():
        return False
    if isinstance(one, Model):
        return _sold_fits(view, query, one) and (query.every or not _is_twin(view, query, one))
    state = State.UNPRICED if isinstance(one, list) else State.NO_ROUTE
    if state is State.NO_ROUTE and not query.every and (not query.state or "/" in name):
        return False
    pools = one if isinstance(one, list) else []
    providers = {view.picture.provider(pool) for pool in pools}
    return (
        query.state in ("", state.value)
        and (not query.pool or query.pool in pools)
        and (not query.provider or query.provider in providers)
    )


def _sold_fits(view: View, query: ModelsQuery, model: Model) -> bool:
    return (
        query.pool in ("", model.pool)
        and query.provider in ("", model.provider)
        and query.text.casefold() in model.id.casefold()
        and (not query.state or view.state(model).value == query.state)
    )


def _is_twin(view: View, query: ModelsQuery, model: Model) -> bool:
    """Whether a model is shown under its bare id already, which does not hide that its own pool alone serves it."""
    bare = view.bare(model)
    if bare is None or not _sold_fits(view, query, bare):
        return False
    return view.can_be_called(bare) or not view.can_be_called(model)


def _unsold(view: View, name: str, one: Unrouted | list[str]) -> dict[str, Any]:
    """What is known of and not sold, with the fields of a model."""
    pools = one if isinstance(one, list) else []
    return {
        "id": name,
        "provider": view.picture.provider(pools[0]) if pools else None,
        "pool": pools[0] if pools else None,
        "pools": pools,
        "upstream": name,
        "state": (State.UNPRICED if pools else State.NO_ROUTE).value,
        "callable": False,
        "context_window": None,
        "max_output_tokens": None,
        "shutdown_date": None,
        "successor": None,
        "pricing": None,
        "sources": None,
        "as_of": None,
    }


async def _models(services: Services, request: ModelsQuery) -> Rows:
    return await page(view_of(services), request)


async def explain(services: Services, request: ModelRef) -> Rows:
    """One model, and why it can or cannot be called."""

    async def credit(pool: str) -> dict[str, int | None]:
        return await inventory(services.store, pool)

    return Rows((await explained(view_of(services), request.id, credit),))


MODELS = Read(verb=verbs.MODELS, answer=_models)
MODELS_EXPLAIN = Read(verb=verbs.MODELS_EXPLAIN, answer=explain)
