"""Owns how an operator asks about models: all of them in pages, and why one can or cannot be called now."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb

PAGE_MAX: Final = 100  # models of one answer


class State(StrEnum):
    """What a call of a model comes to now, in the order in which a caller would find out; the last two are served."""

    NO_ROUTE = "no_route"  # its provider sells it by a route that this gateway does not have
    RETIRED = "retired"  # its provider has ended it
    UNLISTED = "unlisted"  # no account's list has it; an operator's own row is served all the same
    NO_POOL = "no_pool"  # its pool is not configured
    UNPRICED = "unpriced"  # no price is in force, or an account lists it and no row has a price
    NO_WORKER = "no_worker"  # no worker of its pool runs, or serves it
    NO_ACCOUNT = "no_account"  # no account can serve it now
    DEPRECATED = "deprecated"  # served, and its provider says that it ends
    ACTIVE = "active"


class ModelsQuery(Struct, frozen=True, array_like=True):
    """Asks for at most PAGE_MAX models, by id, those after the cursor `after`.

    Each of `pool`, `provider`, `state` and `text`, a part of the id, leaves out what it does not fit. With
    `expiring_days` only those that end within so many days come, the soonest first. Without `every`, a model stands under
    its bare id alone, and what has no route here is left out unless its state is asked for.
    """

    v: int = VERSION
    after: str = ""
    limit: int = PAGE_MAX
    pool: str = ""
    provider: str = ""
    state: str = ""
    text: str = ""
    expiring_days: int | None = None
    every: bool = False


class ModelRef(Struct, frozen=True, array_like=True):
    """Asks why one model or alias can or cannot be called now: one row, with `callable` and `reasons`."""

    v: int
    id: str


MODELS: Verb[ModelsQuery, Rows] = Verb(name="models", form=ModelsQuery, reply=Rows, roles=(Role.COMMAND,))
MODELS_EXPLAIN: Verb[ModelRef, Rows] = Verb(
    name="models_explain", form=ModelRef, reply=Rows, roles=(Role.COMMAND,)
)
