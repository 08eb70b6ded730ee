"""Owns the reads of models and their prices through a console."""

from typing import Any

from msgspec import structs

from ledger.rules.grants import Grant
from ledger.rules.missing import missing
from ledger.verbs.admin.base import Reading
from ledger.verbs.base import Services
from ledger.verbs.models import explain, page, view_of
from schemas.admin import reads
from schemas.catalogue.shown import pricing
from schemas.verbs.base import Rows
from schemas.verbs.models import ModelRef, ModelsQuery

_UNKNOWN = "unknown"
_OURS = ("accounts", "reasons", "candidates")  # what tells of our accounts


async def _models(services: Services, _grant: Grant, query: ModelsQuery) -> Rows:
    answer = await page(view_of(services), query)
    return structs.replace(answer, rows=tuple(row | {"object": "model"} for row in answer.rows))


async def _model(services: Services, grant: Grant, form: ModelRef) -> Rows:
    (row,) = (await explain(services, form)).rows
    if row["state"] == _UNKNOWN:
        return missing("such model")
    left_out: tuple[str, ...] = _OURS if grant.organization else ()
    return Rows(
        ({**{name: value for name, value in row.items() if name not in left_out}, "object": "model"},)
    )


async def _prices(services: Services, _grant: Grant, form: ModelRef) -> Rows:
    model = services.committer.catalogue.models.get(form.id)
    if model is None:
        return missing("such model")
    rows: list[dict[str, Any]] = [
        {
            "object": "price",
            "id": price.id,
            "effective": price.effective.isoformat(),
            **pricing(price, model.rate),
        }
        for price in sorted(model.prices, key=lambda one: one.effective, reverse=True)
    ]
    return Rows(tuple(rows))


MODELS = Reading(question=reads.MODELS, answer=_models)
MODEL = Reading(question=reads.MODEL, answer=_model)
PRICES = Reading(question=reads.PRICES, answer=_prices)
