"""Owns the page of pools: live, who serves what, what each account has left and why one is out of use; and its top-up."""

from typing import Final

from starlette.responses import Response

from console.asking import RefusedError
from console.pages.site import PageRow
from console.pages.visit import FormError, Visit
from schemas.admin.reads import POOLS
from schemas.money.amounts import AmountError, usd_to_nano
from schemas.verbs.base import VERSION
from schemas.verbs.money import UpstreamDeposit
from schemas.verbs.pools import PoolsQuery

MISSING_SHOWN: Final = 50
SAMPLE: Final = """[pools.openai]
provider = "openai"

[[pools.openai.accounts]]
id = "main"
api_key = "env:OPENAI_API_KEY"
credit_usd = 100"""


async def show(visit: Visit, errors: dict[str, str] | None = None) -> Response:
    """The page."""
    rows = (await visit.rows(POOLS, PoolsQuery())).rows
    return visit.page(
        "pools.html",
        400 if errors else 200,
        modules=("live.js",),
        rows=rows,
        sample=SAMPLE,
        most=MISSING_SHOWN,
        errors=errors or {},
    )


async def top_up(visit: Visit) -> Response:
    """Adds to an account's credit, or with a minus takes from it."""
    try:
        pool, _, account = visit.needed("account", "An account").partition(":")
        form = UpstreamDeposit(
            VERSION,
            pool,
            account,
            _signed(visit),
            visit.needed("reason", "A reason"),
            visit.text("reference"),
        )
        await visit.act("upstream_deposit", form)
    except (FormError, RefusedError) as error:
        return await show(visit, visit.refused(error))
    return visit.see("/pools", "topped_up")


def _signed(visit: Visit) -> int:
    text = visit.text("amount_usd").replace(",", "").removeprefix("$")
    try:
        amount = usd_to_nano(text.removeprefix("-") or "0")
    except AmountError as error:
        raise FormError("amount_usd", f"Write dollars as 12.50: {error}.") from None
    if not amount:
        raise FormError("amount_usd", "It must not be 0.")
    return -amount if text.startswith("-") else amount


ROWS = (
    PageRow(
        path="/pools", show=show, needs="pools:read", act=top_up, act_needs="pools:write", deployment=True
    ),
)
