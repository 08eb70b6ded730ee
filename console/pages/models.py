"""Owns the pages of models: which can be called and why not, what they cost, and what one call would cost."""

from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from console.pages.site import PageRow
from console.pages.visit import FormError, Visit
from schemas.admin.reads import MODEL, MODELS, PRICES
from schemas.money.amounts import EXACT, NANO_PER_TOKEN, nano_up
from schemas.verbs.base import VERSION
from schemas.verbs.models import ModelRef, ModelsQuery, State

PAGE_ROWS: Final = 50
TOKENS_MAX: Final = 10**9


async def listed(visit: Visit) -> Response:
    """Pages of models by id."""
    asked = {
        name: visit.query.get(name, "").strip()[:200] for name in ("text", "state", "pool", "after", "every")
    }
    query = ModelsQuery(
        after=asked["after"],
        limit=PAGE_ROWS,
        pool=asked["pool"],
        state=asked["state"] if asked["state"] in set(State) else "",
        text=asked["text"],
        every=bool(asked["every"]),
    )
    found = await visit.rows(MODELS, query)
    kept = {name: value for name, value in asked.items() if value and name != "after"}
    return visit.page(
        "models.html",
        modules=("filter.js",),
        rows=found.rows,
        asked=asked,
        states=[("", "Any"), *((state.value, state.value.replace("_", " ")) for state in reversed(State))],
        following=f"/models?{urlencode({**kept, 'after': found.cursor})}" if found.cursor else "",
        first=f"/models?{urlencode(kept)}" if asked["after"] else "",
    )


async def one(visit: Visit) -> Response:
    """One model: why it can be called or not, its prices, and what a call of so many tokens would cost."""
    ref = ModelRef(VERSION, visit.path["id"])
    row = await visit.row(MODEL, ref)
    prices = (await visit.rows(PRICES, ref)).rows if row.get("pricing") else ()
    errors: dict[str, str] = {}
    cost = None
    try:
        cost = _cost(visit, row.get("pricing"))
    except FormError as error:
        errors = error.errors
    return visit.page("model.html", row=row, prices=prices, cost=cost, errors=errors)


def _cost(visit: Visit, pricing: dict[str, Any] | None) -> dict[str, int] | None:
    """At list and as billed, in nano-dollars and rounded up; None where nothing is asked or known. Raises FormError."""
    if pricing is None or not (visit.query.get("prompt") or visit.query.get("answer")):
        return None
    prompt, answer = (_tokens(visit.query.get(name, ""), name) for name in ("prompt", "answer"))
    made = {}
    for kind in ("list", "billed"):
        tiers = sorted(pricing[kind], key=lambda tier: int(tier["above_prompt_tokens"] or 0))
        tier = [one for one in tiers if prompt >= (one["above_prompt_tokens"] or 0)][-1]
        amount = Decimal(0)
        for tokens, price in ((prompt, tier.get("input", "0")), (answer, tier.get("output", "0"))):
            cost = EXACT.multiply(EXACT.multiply(Decimal(tokens), Decimal(price)), NANO_PER_TOKEN)
            amount = EXACT.add(amount, cost)
        made[kind] = nano_up(amount)
    return made


def _tokens(text: str, field: str) -> int:
    text = text.replace(",", "").strip() or "0"
    if not text.isascii() or not text.isdecimal() or int(text[:20]) > TOKENS_MAX:
        raise FormError(field, f"Write a whole number up to {TOKENS_MAX:,}.")
    return int(text)


ROWS = (
    PageRow(path="/models", show=listed, needs="catalogue:read"),
    PageRow(path="/models/{id:path}", show=one, needs="catalogue:read"),
)
