"""Owns the routes of money: credits of every kind, and moves between balances of one organisation."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from console.api.base import Call, Route, shaped
from console.api.errors import invalid
from console.api.fields import Body, Id, LongText, Nano, Page, PageQuery, Seconds, Text, Usd, nano_of
from schemas.admin import reads
from schemas.admin.reads import CreditRef, CreditsQuery
from schemas.admin.reasons import Reason
from schemas.verbs.base import VERSION
from schemas.verbs.money import Move, Post

GIVEN = Literal["deposit", "promotional", "goodwill", "adjustment", "deposit_return"]
KIND = Literal[
    "deposit",
    "promotional",
    "goodwill",
    "refund",
    "adjustment",
    "deposit_return",
    "expiry",
    "move",
    "write_off",
    "upstream_deposit",
    "dispute",
]
Reference = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*$")]


class Credit(Struct, frozen=True, kw_only=True):
    """What was added to a balance, or taken from it, as the balance sees it: a key's own, or an organisation's.

    `remaining_nano` is what is left of credit that can end, or that is ours to give.
    """

    object: Literal["credit"] = "credit"
    id: str
    kind: KIND
    amount_nano: int
    key: str | None
    organization: str | None
    account: str
    reason: str
    reference: str | None
    call: str | None
    expires_at: int | None
    remaining_nano: int | None
    actor: str
    transfer: str
    created: int


class CreditBody(Body, frozen=True, kw_only=True):
    """An act on a balance: of a key, or of an organisation's wallet. Below zero only an adjustment takes."""

    key: Id | UnsetType = UNSET
    organization: Id | UnsetType = UNSET
    kind: GIVEN
    amount_nano: Nano | UnsetType = UNSET
    amount_usd: Usd | UnsetType = UNSET
    reason: LongText = ""
    reference: Reference = ""
    expires_at: Seconds | None = None


class CreditQuery(PageQuery, frozen=True, kw_only=True):
    """Which credits: of a key's balance, of all balances of an organisation, of one kind."""

    key: Text = ""
    organization: Text = ""
    kind: Literal[KIND, ""] = ""


class Place(Body, frozen=True, kw_only=True):
    """A balance: of a key, or of an organisation's wallet."""

    key: Id | UnsetType = UNSET
    organization: Id | UnsetType = UNSET


class MoveBody(Body, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A move between two balances of one organisation."""

    from_: Place
    to: Place
    amount_nano: Nano | UnsetType = UNSET
    amount_usd: Usd | UnsetType = UNSET
    reason: LongText = ""


class MovedBalance(Struct, frozen=True, kw_only=True):
    """A balance after a move, by the key's or the organisation's id."""

    id: str
    posted_nano: int
    held_nano: int
    available_nano: int


class Moved(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A move. Its id is that of its transfer."""

    object: Literal["move"] = "move"
    id: str
    amount_nano: int
    from_: MovedBalance
    to: MovedBalance
    reason: str
    created: int


def owner_of(place: Place | CreditBody, at: str = "") -> str:
    """Whose balance is meant. Raises ApiError unless it is one."""
    if (place.key is UNSET) == (place.organization is UNSET):
        raise invalid("Give key or organization, one of them.", f"{at}key")
    return f"key:{place.key}" if place.key is not UNSET else f"org:{place.organization}"


def credit(row: dict[str, Any]) -> Credit:
    """The credit that an act made."""
    return shaped(row["credit"], Credit)


async def _create(call: Call) -> Credit:
    body: CreditBody = call.body
    form = Post(
        VERSION,
        owner_of(body),
        nano_of(body, "amount", needed=True) or 0,
        body.reason,
        body.reference,
        (body.expires_at or 0) * 1000,
    )
    return credit(await call.act(body.kind, form))


async def _list(call: Call) -> Page[Credit]:
    query: CreditQuery = call.query
    form = CreditsQuery(VERSION, query.limit, query.starting_after, query.key, query.organization, query.kind)
    return await call.page(reads.CREDITS, form, Credit)


async def _show(call: Call) -> Credit:
    return await call.one(reads.CREDIT, CreditRef(VERSION, call.path["id"]), Credit)


async def _move(call: Call) -> Moved:
    body: MoveBody = call.body
    amount = nano_of(body, "amount", needed=True) or 0
    form = Move(VERSION, owner_of(body.from_, "from."), owner_of(body.to, "to."), amount, body.reason)
    row = await call.act("move", form)
    made = row["credit"]
    told_ = {
        "id": made["transfer"],
        "amount_nano": -made["amount_nano"],
        "from": row,
        "to": row["to"],
        "reason": made["reason"],
        "created": made["created"],
    }
    return shaped(told_, Moved)


MONEY = (
    Route(
        method="POST",
        path="/credits",
        summary="Give to a balance, or take from it",
        what="key or organization",
        scope="money:write",
        body=CreditBody,
        answer=Credit,
        status=201,
        handle=_create,
        reasons=(Reason.INSUFFICIENT_AVAILABLE, Reason.REFERENCE_USED, Reason.OLDER_LEDGER),
    ),
    Route(
        method="GET",
        path="/credits",
        summary="List credits",
        what="credit",
        scope="money:read",
        query=CreditQuery,
        answer=Page[Credit],
        handle=_list,
    ),
    Route(
        method="GET",
        path="/credits/{id}",
        summary="Show a credit",
        what="credit",
        scope="money:read",
        answer=Credit,
        handle=_show,
    ),
    Route(
        method="POST",
        path="/moves",
        summary="Move money between two balances of one organisation",
        what="key or organization",
        scope="money:write",
        body=MoveBody,
        answer=Moved,
        status=201,
        handle=_move,
        reasons=(Reason.INSUFFICIENT_AVAILABLE, Reason.OLDER_LEDGER),
    ),
)
