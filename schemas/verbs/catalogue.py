"""Owns how the models and their prices are asked for."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.catalogue.aliases import Alias
from schemas.catalogue.model import Model
from schemas.verbs.base import VERSION, Verb


class CatalogueQuery(Struct, frozen=True, array_like=True):
    """Asks for all models, as the ledger prices them."""

    v: int = VERSION


class CatalogueReply(Struct, frozen=True, array_like=True):
    """All models, with the price rows in force and to come, and the rate that each is billed at; and the aliases."""

    models: tuple[Model, ...]
    aliases: tuple[Alias, ...] = ()


CATALOGUE: Verb[CatalogueQuery, CatalogueReply] = Verb(
    name="catalogue", form=CatalogueQuery, reply=CatalogueReply, roles=(Role.EDGE,)
)
