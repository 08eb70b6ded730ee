"""Owns the route of sums of usage, from the roll-ups."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from console.api.base import Call, Route, shaped
from console.api.errors import invalid
from console.api.fields import Query, Seconds, Text
from schemas.admin import reads
from schemas.verbs.base import VERSION
from schemas.verbs.sums import PARTS, PERIODS, SumsQuery

LIMIT_MAX = 200


class Bucket(Struct, frozen=True, kw_only=True):
    """Sums of one group. `start` is its hour, day or month (UTC); what it is not grouped by is null.

    `cost_nano` is ours, and there for whoever is bound to no organisation.
    """

    start: str | None
    key: str | None = None
    organization: str | None = None
    model: str | None = None
    provider: str | None = None
    pool: str | None = None
    calls: int
    failed: int
    cancelled: int
    tokens: dict[str, int]
    list_nano: int
    billed_nano: int
    refunded_nano: int
    uncollected_nano: int
    cost_nano: int | None


class Usage(Struct, frozen=True, kw_only=True):
    """Sums, in the order of their groups. `rest` is what this page leaves out of the sums of everything; null without keys.

    Sums by key are in the order of the period, the key, and the rest; a page of them may be short and still have a next.
    """

    object: Literal["usage"] = "usage"
    buckets: tuple[Bucket, ...]
    rest: Bucket | None
    has_more: bool
    next: str | None


class UsageQuery(Query, frozen=True, kw_only=True, rename={"from_": "from"}):
    """By what sums are grouped, names joined by commas: at most one of hour, day, month, and any of the others."""

    group_by: Annotated[
        str, Meta(max_length=80, description=f"Of {', '.join(PERIODS + PARTS)}.", examples=["day,model"])
    ] = ""
    from_: Seconds = 0
    to: Seconds = 0
    key: Text = ""
    organization: Text = ""
    model: Text = ""
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] = 100
    starting_after: Annotated[
        str, Meta(pattern=r"^([0-9]{0,9}|[0-9]+:[0-9]+:.{0,64})$", description="`next` of the page before.")
    ] = ""
    order: Annotated[
        Literal["group", "billed"],
        Meta(
            description="`billed`: sums by `key` alone begin with what was billed most, if few enough rows make them."
        ),
    ] = "group"


async def _usage(call: Call) -> Usage:
    query: UsageQuery = call.query
    by = tuple(name.strip() for name in query.group_by.split(",") if name.strip())
    if unknown := [name for name in by if name not in PERIODS + PARTS]:
        raise invalid(f"There is no group {unknown[0]!r}.", "group_by")
    form = SumsQuery(
        VERSION,
        by,
        query.from_,
        query.to,
        query.key,
        query.organization,
        query.model,
        query.starting_after if ":" in query.starting_after else int(query.starting_after or 0),
        query.limit,
        largest=query.order == "billed",
        rest="key" in by,
    )
    answer = await call.read(reads.USAGE, form)
    return Usage(
        buckets=tuple(shaped(row, Bucket) for row in answer.rows),
        rest=None if answer.rest is None else shaped(answer.rest, Bucket),
        has_more=bool(answer.cursor),
        next=str(answer.cursor) if answer.cursor else None,
    )


USAGE = (
    Route(
        method="GET",
        path="/usage",
        summary="Sum usage by time, key, organisation, model, provider or pool",
        what="usage",
        scope="usage:read",
        query=UsageQuery,
        answer=Usage,
        handle=_usage,
    ),
)
