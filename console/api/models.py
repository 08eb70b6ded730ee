"""Owns the routes of the catalogue: models, why one can or cannot be called, and their prices."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from console.api.base import Call, Route
from console.api.fields import Page, PageQuery, Text
from schemas.admin import reads
from schemas.verbs.base import VERSION
from schemas.verbs.models import PAGE_MAX, ModelRef, ModelsQuery


class Model(Struct, frozen=True, kw_only=True):
    """A model, and whether it can be called now. `pricing` is in USD per million tokens, at list and as it is billed.

    `reasons` say why it can or cannot be called, and are there for one model.
    """

    object: Literal["model"] = "model"
    id: str
    provider: str | None = None
    pool: str | None = None
    pools: tuple[str, ...] = ()
    upstream: str | None = None
    state: str | None
    callable: bool
    context_window: int | None = None
    max_output_tokens: int | None = None
    shutdown_date: str | None = None
    successor: str | None = None
    pricing: dict[str, Any] | None = None
    sources: str | None = None
    as_of: str | None = None
    reasons: tuple[str, ...] = ()


class Price(Struct, frozen=True, kw_only=True):
    """A price row, in force from a day on."""

    object: Literal["price"] = "price"
    id: str
    effective: str
    unit: str
    rate: str
    list: tuple[dict[str, Any], ...]
    billed: tuple[dict[str, Any], ...]


class ModelQuery(PageQuery, frozen=True, kw_only=True):
    """Which models, by id: each of these leaves out what it does not fit. `text` is a part of the id."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 20
    pool: Text = ""
    provider: Text = ""
    state: Text = ""
    text: Text = ""


async def _list(call: Call) -> Page[Model]:
    query: ModelQuery = call.query
    form = ModelsQuery(
        VERSION, query.starting_after, query.limit, query.pool, query.provider, query.state, query.text
    )
    return await call.page(reads.MODELS, form, Model)


async def _show(call: Call) -> Model:
    return await call.one(reads.MODEL, ModelRef(VERSION, call.path["model"]), Model)


async def _prices(call: Call) -> Page[Price]:
    return await call.page(reads.PRICES, ModelRef(VERSION, call.path["model"]), Price)


MODELS = (
    Route(
        method="GET",
        path="/models",
        summary="List models, by id",
        what="model",
        scope="catalogue:read",
        query=ModelQuery,
        answer=Page[Model],
        handle=_list,
    ),
    Route(
        method="GET",
        path="/models/{model}/prices",
        summary="List the prices of a model, those to come first",
        what="model",
        scope="catalogue:read",
        answer=Page[Price],
        handle=_prices,
    ),
    Route(
        method="GET",
        path="/models/{model}",
        summary="Show a model, and why it can or cannot be called",
        what="model",
        scope="catalogue:read",
        answer=Model,
        handle=_show,
    ),
)
