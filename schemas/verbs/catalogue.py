"""Owns how the models and their prices are asked for: in pages, and only where they have changed."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.catalogue.aliases import Alias
from schemas.catalogue.model import Model
from schemas.catalogue.unrouted import Unrouted
from schemas.verbs.base import VERSION, Verb

PAGE_MODELS = 64  # so that a page is far below what a message may be, and quick to read


class CatalogueQuery(Struct, frozen=True, array_like=True):
    """Asks for the models, as the ledger prices them: a page of those whose ids come after `after`.

    `known` is the version that the asker has, "" for none: then nothing comes back if it is still the one. An asker of
    the version before does not know of it, and gets all models at once.
    """

    v: int = VERSION
    known: str | None = None
    after: str = ""


class CatalogueReply(Struct, frozen=True, array_like=True):
    """Models by id, with the price rows in force and to come, and the rate that each is billed at.

    `version` changes with any of them, and with the aliases and what has no route here, which stand on the first page. `cursor` is the next
    page's `after`, "" at the end.
    """

    models: tuple[Model, ...]
    version: str = ""
    cursor: str = ""
    aliases: tuple[Alias, ...] = ()
    unrouted: tuple[Unrouted, ...] = ()


CATALOGUE: Verb[CatalogueQuery, CatalogueReply] = Verb(
    name="catalogue", form=CatalogueQuery, reply=CatalogueReply, roles=(Role.EDGE,)
)
