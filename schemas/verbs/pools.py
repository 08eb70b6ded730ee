"""Owns what is asked about pools: the credit left for their accounts, and the picture of all of them."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb


class Inventory(Struct, frozen=True, array_like=True):
    """Asks for the remaining credit of a pool's accounts."""

    v: int
    pool: str


class InventoryReply(Struct, frozen=True, array_like=True):
    """Credit left by account id in nano-dollars at list price; None is unlimited."""

    credit_nano: dict[str, int | None]


class PoolsQuery(Struct, frozen=True, array_like=True):
    """Asks for workers, accounts and inventory of every pool."""

    v: int = VERSION


INVENTORY: Verb[Inventory, InventoryReply] = Verb(
    name="inventory", form=Inventory, reply=InventoryReply, roles=(Role.WORKER,)
)
POOLS: Verb[PoolsQuery, Rows] = Verb(name="pools", form=PoolsQuery, reply=Rows, roles=(Role.COMMAND,))
