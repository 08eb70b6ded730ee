"""Owns the requests a ledger answers and its replies: msgpack, one Struct a verb. Amounts are integer nano-dollars."""

from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from schemas.catalogue.model import Model
from schemas.money.pricing import Price, TokenUsage

VERSION = 1
LEASE_S = 30.0  # a hold nobody renews expires after so long, on the database's clock
RENEW_INTERVAL_S = 10.0
ESTIMATE_GRACE_S = 30.0  # how long the rest of an estimated hold stays for a worker's report
UNSET_LIMIT_MIN = 256  # fewest output tokens a call without a limit of its own is granted


class Ping(Struct, frozen=True, array_like=True):
    """Asks whether a ledger answers; the reply is `Done`."""

    v: int = VERSION


class KeyQuery(Struct, frozen=True, array_like=True):
    """Is this a live key? `digest` is the SHA-256 of the whole key."""

    v: int
    digest: bytes


class KeyReply(Struct, frozen=True, array_like=True):
    """A live key's id and the providers it may use (None: all); `active` is False for unknown and revoked keys."""

    active: bool
    key_id: str = ""
    providers: tuple[str, ...] | None = None


class CatalogueQuery(Struct, frozen=True, array_like=True):
    """Asks for all models, as the ledger prices them."""

    v: int = VERSION


class CatalogueReply(Struct, frozen=True, array_like=True):
    """All models, with the price rows in force and to come, and the rate that each is billed at."""

    models: tuple[Model, ...]


class Authorise(Struct, frozen=True, array_like=True):
    """Asks for a hold. The same `request_id` again gets the same answer.

    `limit` is the output tokens per choice that the caller set, None if it set none. `prompt_max` bounds the tokens of
    all `prompts` together, each of which has a context of its own.
    """

    v: int
    request_id: str
    digest: bytes
    model: str
    prompt_max: int
    choices: int
    limit: int | None
    prompts: int = 1


class Hold(Struct, frozen=True, array_like=True, tag="hold"):
    """A granted hold. `token` is needed to release, reattempt or estimate it; `limit` is per choice."""

    request_id: str
    token: str
    key_id: str
    amount_nano: int
    list_nano: int  # the same bound at list price
    limit: int
    limited: bool  # the caller set no limit, and `limit` is below the model's own
    pool: str
    provider: str
    upstream: str
    price: Price
    rate: Decimal


class Reason(StrEnum):
    """Why there is no hold."""

    UNKNOWN_KEY = "unknown_key"  # revoked keys too
    UNKNOWN_MODEL = "unknown_model"
    PROVIDER_DENIED = "provider_denied"
    INSUFFICIENT = "insufficient"
    ENDED = "ended"  # this request id already had a hold, and it has ended
    BACKLOG = "backlog"  # unapplied usage events fill half of the stream: no new calls until they are applied


class Refusal(Struct, frozen=True, array_like=True, tag="refusal"):
    """Why there is no hold, and for `INSUFFICIENT` the figures; `fitting_limit` 0 means that no limit would fit."""

    reason: Reason
    posted_nano: int = 0
    held_nano: int = 0
    required_nano: int = 0
    fitting_limit: int = 0


AuthoriseReply = Hold | Refusal


class Reattempt(Struct, frozen=True, array_like=True):
    """Makes `attempt` the current one; the replaced one becomes our cost, with this estimate of its usage."""

    v: int
    request_id: str
    token: str
    attempt: int  # the new one
    replaced: TokenUsage


class Release(Struct, frozen=True, array_like=True):
    """Ends a hold unused: no worker has accepted the call, and none can any more."""

    v: int
    request_id: str
    token: str


class Estimate(Struct, frozen=True, array_like=True):
    """Settles a call whose worker is known to be dead, by the edge's estimate of the current attempt."""

    v: int
    request_id: str
    token: str
    attempt: int
    usage: TokenUsage
    failed: bool  # the caller saw an HTTP error: bills nothing, the usage is our cost
    first_byte_ms: int = 0
    duration_ms: int = 0


class Renew(Struct, frozen=True, array_like=True):
    """Renews the leases of calls that the sender still runs."""

    v: int
    request_ids: tuple[str, ...]


class Done(Struct, frozen=True, array_like=True):
    """The plain answer of reattempt, release, estimate, renew, ping: `ok` is False if the hold had already ended."""

    ok: bool = True
    detail: str = ""


class Inventory(Struct, frozen=True, array_like=True):
    """Asks for the remaining credit of a pool's accounts."""

    v: int
    pool: str


class InventoryReply(Struct, frozen=True, array_like=True):
    """Credit left by account id in nano-dollars at list price; None is unlimited."""

    credit_nano: dict[str, int | None]


class GenerationQuery(Struct, frozen=True, array_like=True):
    """Asks for the receipt of one call of one key."""

    v: int
    digest: bytes
    request_id: str


class GenerationReply(Struct, frozen=True, array_like=True):
    """The receipt as a JSON object, None if this key has no such call."""

    active: bool
    receipt: dict[str, Any] | None


class KeyCreate(Struct, frozen=True, array_like=True):
    """Makes a key. The ledger never learns the key itself, only its SHA-256; the command made it."""

    v: int
    digest: bytes
    name: str
    profile: str
    posted_nano: int
    providers: tuple[str, ...] | None
    playground: bool


class KeyRef(Struct, frozen=True, array_like=True):
    """Names one key by id: key_show, key_revoke, balance."""

    v: int
    key_id: str


class KeyList(Struct, frozen=True, array_like=True):
    """Asks for a page of keys, oldest first, after a key id."""

    v: int
    after: str = ""
    limit: int = 500


class Credit(Struct, frozen=True, array_like=True):
    """Adds to a key's balance, or to a profile's playground credits. Exactly one of the two is set.

    `request_id` makes it once: the same again changes nothing.
    """

    v: int
    request_id: str
    amount_nano: int
    key_id: str = ""
    profile: str = ""


class UsageQuery(Struct, frozen=True, array_like=True):
    """Asks for a page of calls, newest first; `before` is the cursor of the last page."""

    v: int
    key_id: str = ""
    limit: int = 100
    before: int = 0


class PoolsQuery(Struct, frozen=True, array_like=True):
    """Asks for workers, accounts and inventory of every pool."""

    v: int = VERSION


class AuditQuery(Struct, frozen=True, array_like=True):
    """Asks for a proof of the books."""

    v: int = VERSION


class Rows(Struct, frozen=True, array_like=True):
    """The answer to commands: JSON objects with the fields of docs/contract.md, or why not.

    `problem` is empty when it worked; `missing` says that the thing named does not exist. `cursor` is the next
    page's, 0 or "" at the end.
    """

    rows: tuple[dict[str, Any], ...] = ()
    problem: str = ""
    missing: bool = False
    cursor: int | str = 0


encode = msgspec.msgpack.Encoder(decimal_format="string").encode
