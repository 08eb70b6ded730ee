"""Owns how ended calls are asked for: pages of them, and the receipt of one."""

from typing import Any

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import Rows, Verb


class UsageQuery(Struct, frozen=True, array_like=True):
    """Asks for a page of calls, newest first; `before` is the cursor of the last page.

    With a `request_id` it asks for all that the books have of that one call.
    """

    v: int
    key_id: str = ""
    limit: int = 100
    before: int = 0
    request_id: str = ""


class GenerationQuery(Struct, frozen=True, array_like=True):
    """Asks for the receipt of one call of one key."""

    v: int
    digest: bytes
    request_id: str


class GenerationReply(Struct, frozen=True, array_like=True):
    """The receipt as a JSON object, None if this key has no such call. `running`: it has one that is not billed yet."""

    active: bool
    receipt: dict[str, Any] | None
    running: bool = False
    expired_ms: int = 0  # when a key that is no longer active ended, 0 if it was no time that ended it


USAGE: Verb[UsageQuery, Rows] = Verb(name="usage", form=UsageQuery, reply=Rows, roles=(Role.COMMAND,))
GENERATION: Verb[GenerationQuery, GenerationReply] = Verb(
    name="generation", form=GenerationQuery, reply=GenerationReply, roles=(Role.EDGE,)
)
