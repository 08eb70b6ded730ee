"""Owns what fields of the API have in common: texts, amounts in two units, pages, and what PATCH leaves alone."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from console.api.errors import invalid
from schemas.admin.reads import PAGE_MAX
from schemas.money.amounts import NANO_MAX, AmountError, usd_to_nano

_NO_NUL = r"^[^\x00]*$"
_T = TypeVar("_T")
Text = Annotated[str, Meta(max_length=200, pattern=_NO_NUL)]
LongText = Annotated[str, Meta(max_length=500, pattern=_NO_NUL)]
Id = Annotated[str, Meta(min_length=1, max_length=200, pattern=_NO_NUL)]
Seconds = Annotated[int, Meta(ge=0, le=253_402_300_799, description="Unix seconds.")]
Nano = Annotated[int, Meta(ge=-NANO_MAX, le=NANO_MAX, description="Nano-dollars.")]
Usd = Annotated[
    str, Meta(max_length=40, description="USD as a decimal with at most nine decimals.", examples=["12.50"])
]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=40, pattern=_NO_NUL)], LongText], Meta(max_length=20)
]
Limit = Annotated[int, Meta(ge=1, le=PAGE_MAX, description="Rows of a page.")]
Cursor = Annotated[str, Meta(max_length=200, pattern=_NO_NUL, description="An id of the list, or `next`.")]


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request says: a field that nobody knows is refused."""


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters behind a path."""


class PageQuery(Query, frozen=True, kw_only=True):
    """Of a list: newest first."""

    limit: Limit = 20
    starting_after: Cursor = ""


class Page(Struct, Generic[_T], frozen=True, kw_only=True):
    """A page of a list, newest first. `next` is the next page's `starting_after`."""

    object: Literal["list"] = "list"
    data: tuple[_T, ...]
    has_more: bool
    next: str | None


class Balance(Struct, frozen=True, kw_only=True):
    """What an account has, what of it calls in flight hold, and what it has spent in all."""

    posted_nano: int
    held_nano: int
    available_nano: int
    spent_nano: int


class Limits(Struct, frozen=True, kw_only=True):
    """Rate limits, null for none; `used` with `expand[]=limits.used`."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    in_flight: int | None = None
    used: dict[str, int] | None = None


class LimitsBody(Body, frozen=True, kw_only=True):
    """Rate limits that are set: null clears one, and one that is not there stays."""

    requests_per_minute: Annotated[int, Meta(ge=1, le=10**9)] | UnsetType | None = UNSET
    tokens_per_minute: Annotated[int, Meta(ge=1, le=10**9)] | UnsetType | None = UNSET
    in_flight: Annotated[int, Meta(ge=1, le=10**9)] | UnsetType | None = UNSET


def told(value: Any, unset: Any = None) -> Any:
    """A field's value; another one where the body has none."""
    return unset if value is UNSET else value


def cleared(value: Any) -> Any:
    """A limit or an amount of a change: None where the body has none, 0 for null."""
    return None if value is UNSET else (value or 0)


def limits_of(body: LimitsBody | UnsetType) -> tuple[int | None, int | None, int | None]:
    """Calls a minute, tokens a minute, calls in flight, as a change has them."""
    if isinstance(body, UnsetType):
        return None, None, None
    return cleared(body.requests_per_minute), cleared(body.tokens_per_minute), cleared(body.in_flight)


def nano_of(body: Body, name: str, *, needed: bool = False, at: str = "") -> int | None:
    """An amount that a body has as `<name>_nano` or as `<name>_usd`, never as both; None where it has neither.

    Null is 0. `at` is where the body stands in the request. Raises ApiError.
    """
    nano, usd = getattr(body, f"{name}_nano"), getattr(body, f"{name}_usd")
    path = f"{at}{name}_nano"
    if nano is not UNSET and usd is not UNSET:
        raise invalid(f"Give {name}_nano or {name}_usd, not both.", path)
    if nano is UNSET and usd is UNSET:
        if needed:
            raise invalid(f"Give {name}_nano or {name}_usd.", path)
        return None
    if usd is UNSET:
        return int(nano or 0)
    try:
        return usd_to_nano(usd) if usd is not None else 0
    except AmountError as error:
        raise invalid(f"{error}.", f"{at}{name}_usd") from None
