"""Owns the forms of acts on money, and how credits are asked for. Amounts are nano-dollars, above zero unless said.

An owner is `key:ID`, `playground:PROFILE` or `org:ID`: whose balance it is. A key's is that of the account it draws on.
"""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb


class Post(Struct, frozen=True, array_like=True):
    """Gives to a balance or takes from it, as the name of the act says; below zero only an adjustment takes.

    A reference is unique among those of its kind. Promotional credit may expire: at `expires_ms`, or so many seconds
    after the act.
    """

    v: int
    owner: str
    amount_nano: int
    reason: str = ""
    reference: str = ""
    expires_ms: int = 0
    expires_in_s: int = 0


class Refund(Struct, frozen=True, array_like=True):
    """Gives back a part of a call's bill, or with 0 all that is left of it."""

    v: int
    request_id: str
    amount_nano: int = 0
    reason: str = ""
    reference: str = ""


class Move(Struct, frozen=True, array_like=True):
    """Moves money from one owner to another of the same organisation."""

    v: int
    source: str
    target: str
    amount_nano: int
    reason: str = ""


class WriteOff(Struct, frozen=True, array_like=True):
    """Gives up a part of what is uncollected, or with 0 all of it."""

    v: int
    amount_nano: int = 0
    reason: str = ""


class UpstreamDeposit(Struct, frozen=True, array_like=True):
    """Adds to the credit of a pool's account; below zero it takes from it."""

    v: int
    pool: str
    account: str
    amount_nano: int
    reason: str = ""
    reference: str = ""


class CreditsQuery(Struct, frozen=True, array_like=True):
    """Asks for a page of credits, newest first, of an owner or of all; `before` is the cursor of the last page."""

    v: int = VERSION
    owner: str = ""
    kind: str = ""
    limit: int = 100
    before: str = ""


CREDITS: Verb[CreditsQuery, Rows] = Verb(name="credits", form=CreditsQuery, reply=Rows, roles=(Role.COMMAND,))
