"""Owns the seam between a worker and an account's own list of models: what is asked for, and what a list can say."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Final, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from runtime.settings.settings import AccountSettings
from schemas.json import UNREADABLE
from workers.upstream.request import UpstreamRequest

T = TypeVar("T")

ID_CHARS_MAX: Final = 256
IDS_MAX: Final = 20_000  # of one list


class Listed(Struct, frozen=True, kw_only=True):
    """One model of an account's list, as far as the list speaks of it. `max_output` is in tokens, 0 where it is silent."""

    id: str
    retired: bool = False  # listed as history: a call of it fails
    deprecated: bool = False
    shutdown: date | None = None
    max_output: int = 0


class ListError(Exception):
    """What came is not a list of models, or not one that can be read."""


class Reading(Protocol):
    """One reading of an account's list: page after page, in the family's order. Not reusable."""

    @property
    def models(self) -> Mapping[str, Listed]:
        """What the pages so far list, by the id that calls name."""
        ...

    def request(self) -> UpstreamRequest | None:
        """The next page to ask for; None after the last one. Raises AccountError without credentials."""
        ...

    def take(self, body: bytes) -> None:
        """The body of a 200 answer to it. Raises ListError."""
        ...


@runtime_checkable
class Listing(Protocol):
    """A family whose accounts can be asked which models they have. It does no I/O."""

    def models(self, account: AccountSettings, today: date) -> Reading:
        """A new reading of an account's list, on a day."""
        ...


def page_of(decode: Callable[[bytes], T], body: bytes) -> T:
    """A page as its family's types. Raises ListError for what is none."""
    try:
        return decode(body)
    except UNREADABLE as error:
        raise ListError(str(error)) from None


def gathered(models: dict[str, Listed], page: Iterable[Listed]) -> None:
    """Adds a page; what no call could name is left out. Raises ListError for more ids than any account has."""
    for one in page:
        if one.id and len(one.id) <= ID_CHARS_MAX and one.id.isprintable():
            models[one.id] = one
        if len(models) > IDS_MAX:
            raise ListError(f"more than {IDS_MAX} models")


def day_of(value: object) -> date | None:
    """The day of a date or a moment as lists write them: ISO 8601, or unix seconds. None for anything else."""
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value.strip()).date()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).date()
    except (ValueError, OverflowError, OSError):
        pass
    return None


def count_of(value: object) -> int:
    """A number of tokens; 0 for what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1 << 53:
        return int(value)
    return 0
