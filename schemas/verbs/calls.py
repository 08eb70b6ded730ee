"""Owns what is asked about a call and its hold: authorise, reattempt, release, estimate, renew. Amounts are nano-dollars."""

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.money.pricing import Price, TokenUsage
from schemas.verbs.base import Done, Verb

LEASE_S = 30.0  # a hold nobody renews expires after so long, on the database's clock
RENEW_INTERVAL_S = 10.0
ESTIMATE_GRACE_S = 30.0  # how long the rest of an estimated hold stays for a worker's report
UNSET_LIMIT_MIN = 256  # fewest output tokens a call without a limit of its own is granted


class Further(Struct, frozen=True, array_like=True):
    """One more model that may serve a call, and the call's own bounds with it."""

    model: str
    prompt_max: int
    limit: int | None
    uplifts: tuple[str, ...] = ()


class Authorise(Struct, frozen=True, array_like=True):
    """Asks for a hold. The same `request_id` again gets the same answer.

    `limit` is the output tokens per choice that the caller set, None if it set none. `prompt_max` bounds the tokens of
    all `prompts` together, each of which has a context of its own. `uplifts` are the service tier, region and speed
    that it asked for, where they are not the default. `others` are tried after `model`, in their order; `asked` are the
    names that the caller wrote, where they are not just the id of `model`.
    """

    v: int
    request_id: str
    digest: bytes
    model: str
    prompt_max: int
    choices: int
    limit: int | None
    prompts: int = 1
    uplifts: tuple[str, ...] = ()
    others: tuple[Further, ...] = ()
    asked: tuple[str, ...] = ()


class Granted(Struct, frozen=True, array_like=True):
    """What a hold grants for one of several models. `place` names it from then on: from 1, or 0 if it is the only one."""

    place: int
    model: str
    list_nano: int
    limit: int
    limited: bool
    pool: str
    provider: str
    upstream: str
    price: Price
    rate: Decimal
    uplifts: tuple[str, ...] | None = None  # as a `Hold` has them


class Room(Struct, frozen=True, array_like=True):
    """What is left of a key's limits a minute after this call; of key and organisation the tighter. 0 is for no limit.

    `reset` is when nothing of the minute would count any more.
    """

    limit_requests: int
    left_requests: int
    reset_requests_ms: int
    limit_tokens: int
    left_tokens: int
    reset_tokens_ms: int


class Hold(Struct, frozen=True, array_like=True, tag="hold"):
    """A granted hold. `token` is needed to release, reattempt or estimate it; `limit` is per choice.

    Where several models were asked for, `candidates` are those that may serve, in their order, and the fields from
    `list_nano` on are those of the first; `amount_nano` covers the dearest.
    """

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
    candidates: tuple[Granted, ...] = ()
    scope: str = (
        ""  # stands for the key where its id must not be known, and seals what only its calls may read
    )
    # The service tiers, regions and speeds that it reckons with; None from a ledger of the last version.
    uplifts: tuple[str, ...] | None = None
    room: Room | None = None  # of a key with limits a minute


class Reason(StrEnum):
    """Why there is no hold."""

    UNKNOWN_KEY = "unknown_key"  # revoked keys too
    UNKNOWN_MODEL = "unknown_model"
    PROVIDER_DENIED = "provider_denied"
    INSUFFICIENT = "insufficient"
    ENDED = "ended"  # this request id already had a hold, and it has ended
    MODEL_DENIED = "model_denied"  # the key's own list of models lacks it
    PAUSED = "paused"  # the key, until it is resumed
    SUSPENDED = "suspended"  # the key's organisation
    EXPIRED = "expired"  # the key, or the secret that was shown
    CAPPED = "capped"  # a spend cap of the key or its organisation
    LIMITED = "limited"  # a rate limit of the key or its organisation
    BACKLOG = "backlog"  # unapplied usage events fill half of the stream: no new calls until they are applied


class Measure(StrEnum):
    """What a rate limit counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    IN_FLIGHT = "in_flight"


class Limited(Struct, frozen=True, array_like=True):
    """Which rate limit refuses a call. `scope` is "key" or "org"; `retry_ms` is -1 where no wait would help."""

    scope: str
    measure: Measure
    limit: int
    used: int
    asked: int
    retry_ms: int


class CapFigures(Struct, frozen=True, array_like=True):
    """A spend cap that has no room for a call, in its current period. `scope` is "key", or "org" for the organisation's.

    `period` is day, week, month or total, by the calendar of `zone`; `resets_s` is unix seconds, 0 for never.
    """

    id: str
    scope: str
    period: str
    zone: str
    limit_nano: int
    spent_nano: int
    held_nano: int
    resets_s: int


class Refusal(Struct, frozen=True, array_like=True, tag="refusal"):
    """Why there is no hold, and for `INSUFFICIENT` and `CAPPED` the figures; `fitting_limit` 0 means that no limit would fit.

    `reason` is a `Reason`, or a word of a later version, which its reader need not know.
    `model` is which of several models it is about. `key_id` is the caller's, where the key lives. `expired_ms` is when
    an `EXPIRED` key or secret ended.
    """

    reason: str
    posted_nano: int = 0
    held_nano: int = 0
    required_nano: int = 0
    fitting_limit: int = 0
    model: str = ""
    key_id: str = ""
    expired_ms: int = 0
    limited: Limited | None = None  # of `LIMITED`
    room: Room | None = None  # the same
    cap: CapFigures | None = None  # the one that leaves the least, where it leaves less than the balance


AuthoriseReply = Hold | Refusal


class Reattempt(Struct, frozen=True, array_like=True):
    """Makes `attempt` the current one; the replaced one becomes our cost, with this estimate of its usage.

    `candidate` is the place of the model that the new one asks, 0 for the same as before.
    """

    v: int
    request_id: str
    token: str
    attempt: int  # the new one
    replaced: TokenUsage
    candidate: int = 0


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
    candidate: int = 0  # the place of the attempt's model; 0 of a call with one


class Renew(Struct, frozen=True, array_like=True):
    """Renews the leases of calls that the sender still runs."""

    v: int
    request_ids: tuple[str, ...]


AUTHORISE: Verb[Authorise, AuthoriseReply] = Verb(
    name="authorise", form=Authorise, reply=AuthoriseReply, roles=(Role.EDGE,), writes=True
)
REATTEMPT: Verb[Reattempt, Done] = Verb(
    name="reattempt", form=Reattempt, reply=Done, roles=(Role.EDGE,), writes=True
)
RENEW: Verb[Renew, Done] = Verb(
    name="renew", form=Renew, reply=Done, roles=(Role.EDGE, Role.WORKER), writes=True
)
RELEASE: Verb[Release, Done] = Verb(name="release", form=Release, reply=Done, roles=(Role.EDGE,), writes=True)
ESTIMATE: Verb[Estimate, Done] = Verb(
    name="estimate", form=Estimate, reply=Done, roles=(Role.EDGE,), writes=True
)
