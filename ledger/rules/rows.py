"""Owns the rows of the books as plain mutable structs: one field a column, in the order of the table.

A kind of row says once what the statements need: its table, its key, and which columns a batch changes.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from schemas.bus.usage import UsageEvent
from schemas.money.pricing import TokenUsage


class HoldState:
    """A hold's state. Only `open` and `estimated` reserve money. Plain strings, because rows store them as they are."""

    OPEN = "open"
    ESTIMATED = "estimated"  # settled by an edge's estimate; the rest stays held for a worker's report
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


class Status:
    """What a key, or an organisation, is."""

    ACTIVE = "active"
    PAUSED = "paused"  # of keys
    REVOKED = "revoked"  # of keys, for good
    SUSPENDED = "suspended"  # of organisations


class Kind:
    """What a transfer is for."""

    DEPOSIT = "deposit"
    CHARGE = "charge"  # line 0 the first charge, line 1 its correction, line 2 takes all of it back
    UNCOLLECTED = (
        "uncollected"  # what a call cost beyond its hold, or beyond the balance after its hold was gone
    )
    COST = "cost"  # one line a try at an upstream
    COST_ESTIMATE = "cost_estimate"  # line 0 the estimate, line 1 takes it back
    OPENING = "opening"  # an upstream account's first credit
    # Of operators, as are deposits: a transfer and its credit share one word.
    DEPOSIT_RETURN = "deposit_return"
    PROMOTIONAL = "promotional"
    EXPIRY = "expiry"
    GOODWILL = "goodwill"
    REFUND = "refund"  # by the call's request id; the attempt is the number of the refund, from 1
    ADJUSTMENT = "adjustment"
    MOVE = "move"
    WRITE_OFF = "write_off"
    DISPUTE = "dispute"  # of a payment: taken, and given back once it is won
    UPSTREAM_DEPOSIT = "upstream_deposit"


class AccountKind:
    """Kinds of accounts. An organisation's wallet is metered too. Only the first two belong to callers, and may never go below what is held."""

    METERED = "metered"
    PLAYGROUND = "playground"
    UPSTREAM = "upstream"
    SYSTEM = "system"


USAGE_BLOCK = 8_192  # rows of calls that are indexed together; in an index, so a change needs a migration

DEPOSITS = "deposits"
REVENUE = "revenue"
COST_OF_GOODS = "cost_of_goods"
UNCOLLECTED = "uncollected"
UNALLOCATED = "unallocated"  # estimated costs whose upstream account is not known
UPSTREAM_DEPOSITS = "upstream_deposits"
PROMOTIONS = "promotions"
GOODWILL = "goodwill"
ADJUSTMENTS = "adjustments"
BAD_DEBT = "bad_debt"  # what was uncollected and is given up, and payments taken back that were spent
SOURCES = (DEPOSITS, PROMOTIONS, GOODWILL, ADJUSTMENTS)  # where callers' money comes from


def metered_id(key_id: str) -> str:
    """The account of a key's metered balance."""
    return f"key:{key_id}"


def playground_id(profile: str) -> str:
    """The account of a profile's playground credits."""
    return f"playground:{profile}"


def wallet_id(organization: str) -> str:
    """The account of an organisation's own balance."""
    return f"org:{organization}"


def upstream_id(pool: str, account: str) -> str:
    """The account of an upstream account's remaining credit."""
    return f"upstream:{pool}:{account}"


def account_kind(account_id: str) -> str:
    """The kind of an account, by its id."""
    prefix = account_id.partition(":")[0]
    match prefix:
        case "key" | "org":
            return AccountKind.METERED
        case "playground":
            return AccountKind.PLAYGROUND
        case "upstream":
            return AccountKind.UPSTREAM
    return AccountKind.SYSTEM


class Row(Struct, array_like=True):
    """One row of a table, as it is loaded and written."""

    TABLE: ClassVar[str]
    KEY: ClassVar[tuple[str, ...]]
    CHANGES: ClassVar[tuple[str, ...] | None] = ()  # columns that a batch may change; None is all but the key
    SORTED: ClassVar[bool] = (
        True  # new ones are written by key: ledgers that make the same rows wait in no circle
    )

    @classmethod
    def changes(cls) -> tuple[str, ...]:
        """The columns that an update sets."""
        if cls.CHANGES is not None:
            return cls.CHANGES
        return tuple(name for name in cls.__struct_fields__ if name not in cls.KEY)


_R = TypeVar("_R", bound=Row)


def row_of(kind: type[_R], values: Sequence[Any]) -> _R:
    """A row from the columns of its table, in their order. Raises msgspec.ValidationError if they are not its."""
    return msgspec.convert(tuple(values), kind, strict=False)  # SQLite has no booleans


class Account(Row, kw_only=True):
    """Balance of one account: what was credited minus what was debited, and the part of it that holds reserve.

    `spent_nano` is all charges minus all refunds. Below `low_nano` its balance is low; 0 is for none.
    `limited` says that a key that draws on it, or such a key's organisation, has a cap or a limit: only then a batch
    looks for them. It changes while the account is locked.
    `lots_nano` is the part of it that is left of promotional credit and goodwill; charges take it first.
    """

    TABLE: ClassVar[str] = "accounts"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = (
        "posted_nano",
        "held_nano",
        "spent_nano",
        "low_nano",
        "limited",
        "lots_nano",
    )

    id: str
    kind: str
    posted_nano: int
    held_nano: int
    spent_nano: int = 0
    low_nano: int = 0
    limited: bool = False
    lots_nano: int = 0

    @property
    def available_nano(self) -> int:
        """What new holds may take."""
        return self.posted_nano - self.held_nano


class Profile(Row, kw_only=True):
    """Who owns keys: an organisation. `playground_credits_usd` is its playground account's balance in dollars, a decimal.

    `timezone` is an IANA name, empty for UTC. Calls a minute, tokens a minute and calls in flight are of all its keys
    together; 0 is for no limit. `labels` is JSON, the metadata of it.
    """

    TABLE: ClassVar[str] = "profiles"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = (
        "playground_credits_usd",
        "name",
        "email",
        "status",
        "timezone",
        "rpm",
        "tpm",
        "in_flight",
        "labels",
        "version",
    )

    id: str
    playground_credits_usd: str
    created_ms: int
    name: str = ""
    email: str = ""
    status: str = Status.ACTIVE
    timezone: str = ""
    rpm: int = 0
    tpm: int = 0
    in_flight: int = 0
    labels: str = "{}"
    version: int = 1


class Key(Row, kw_only=True):
    """A caller's key. `digest` is a keyed hash (hex) of its first secret's SHA-256, by which ledgers of before find it.

    `providers` and `models` are JSON, empty for all. Limits are 0 for none, `expires_ms` 0 for never.
    """

    TABLE: ClassVar[str] = "api_keys"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = (
        "name",
        "providers",
        "status",
        "revoked_ms",
        "expires_ms",
        "models",
        "rpm",
        "tpm",
        "in_flight",
        "labels",
        "version",
    )

    id: str
    digest: str
    name: str
    profile: str
    account_id: str
    providers: str
    playground: bool
    status: str
    created_ms: int
    revoked_ms: int
    expires_ms: int = 0
    models: str = ""
    rpm: int = 0
    tpm: int = 0
    in_flight: int = 0
    labels: str = "{}"
    version: int = 1


class KeySecret(Row, kw_only=True):
    """One secret of a key, by a keyed hash (hex) of its SHA-256. `hint` is its last four characters, "" if not known.

    `pepper` is the id of the pepper that it was hashed with, "" for the first one of these books.

    A secret whose `expires_ms` has passed opens nothing; 0 is for never.
    """

    TABLE: ClassVar[str] = "key_secrets"
    KEY: ClassVar[tuple[str, ...]] = ("digest",)
    CHANGES: ClassVar[tuple[str, ...] | None] = ("expires_ms",)

    digest: str
    id: str
    key_id: str
    hint: str
    created_ms: int
    expires_ms: int
    pepper: str = ""


class Cap(Row, kw_only=True):
    """What one key (`scope` key:…) or organisation (org:…) may spend in a period. It is ended, never deleted."""

    TABLE: ClassVar[str] = "caps"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = ("limit_nano", "alert_percent", "ended_ms", "version")

    id: str
    scope: str
    period: str
    zone: str
    limit_nano: int
    alert_percent: int
    created_ms: int
    ended_ms: int
    version: int


class CapPeriod(Row, kw_only=True):
    """One period of a cap: what was spent and is held by the calls whose holds were taken in it.

    `id` is `<cap>@<start_ms>`; `end_ms` 0 is for never. `base_nano` was spent before the cap was made. The ceiling is
    the limit, or what was spent and held where the limit was lowered below it. `alerted` says that `alert_nano` was spent
    and that this was told, `reached` that a call was refused and that was told. Nothing is told where `alert_nano` is 0.
    """

    TABLE: ClassVar[str] = "cap_periods"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = (
        "spent_nano",
        "held_nano",
        "base_nano",
        "ceiling_nano",
        "alerted",
        "alert_nano",
        "reached",
    )

    id: str
    cap_id: str
    start_ms: int
    end_ms: int
    spent_nano: int
    held_nano: int
    base_nano: int
    ceiling_nano: int
    alerted: bool
    alert_nano: int = 0
    reached: bool = False


class Rate(Row, kw_only=True):
    """How much one key or organisation has asked in the last minute, second by second, and how many calls it has in flight.

    `requests` and `tokens` are 61 little-endian unsigned numbers of 32 bits: that of second s stands at s mod 61, and
    `base_s` is the last second that was counted. `typical_output_milli` is a moving mean, in thousandths of a token.
    """

    TABLE: ClassVar[str] = "rates"
    KEY: ClassVar[tuple[str, ...]] = ("scope",)
    CHANGES: ClassVar[tuple[str, ...] | None] = None

    scope: str
    in_flight: int
    typical_output_milli: int
    base_s: int
    requests: bytes
    tokens: bytes


class Hold(Row, kw_only=True):
    """One call's reservation. `token_limit` is per choice; `price_ref` and `rate` are pinned for good.

    `uplifts` is JSON: the service tiers, regions and speeds that the amount reckons with.
    `asked` is the JSON list of names that the caller wrote, empty where it wrote the id of `model`. Of a call that
    several models may serve, `candidate` is the place of the current one, whose own terms count; else it is 0.
    `limits` is JSON, empty for none: the periods of caps, and the rates, that it counts in.
    """

    TABLE: ClassVar[str] = "holds"
    KEY: ClassVar[tuple[str, ...]] = ("request_id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = (
        "held_nano",
        "attempt",
        "state",
        "lease_ms",
        "closed_ms",
        "candidate",
        "limits",
    )

    request_id: str
    token: str
    key_id: str
    account_id: str
    model: str
    pool: str
    provider: str
    upstream: str
    price_ref: str
    rate: str
    amount_nano: int
    list_nano: int
    held_nano: int
    token_limit: int
    limited: bool
    prompt_max: int
    choices: int
    attempt: int
    state: str
    lease_ms: int
    created_ms: int
    closed_ms: int
    uplifts: str
    asked: str = ""
    candidate: int = 0
    limits: str = ""


class Candidate(Row, kw_only=True):
    """What a hold pins for one of several models that may serve its call. `place` is from 1, in the order of trying.

    `uplifts` is JSON: the service tiers, regions and speeds that its part of the hold reckons with.
    """

    TABLE: ClassVar[str] = "candidates"
    KEY: ClassVar[tuple[str, ...]] = ("request_id", "place")

    request_id: str
    place: int
    model: str
    pool: str
    provider: str
    upstream: str
    price_ref: str
    rate: str
    list_nano: int
    token_limit: int
    limited: bool
    prompt_max: int
    uplifts: str


Terms = Hold | Candidate  # what a call with one model is priced by: of several, each has its own


def tombstone(event: UsageEvent, now_ms: int) -> Hold:
    """A released hold without a key. It takes the request id for good, so that no later hold meets rows of this event."""
    return Hold(
        request_id=event.request_id,
        token="",
        key_id="",
        account_id="",
        model="",
        pool=event.pool,
        provider=event.provider,
        upstream="",
        price_ref="",
        rate="0",
        amount_nano=0,
        list_nano=0,
        held_nano=0,
        token_limit=0,
        limited=False,
        prompt_max=0,
        choices=0,
        attempt=event.attempt,
        state=HoldState.RELEASED,
        lease_ms=0,
        created_ms=now_ms,
        closed_ms=now_ms,
        uplifts="[]",
    )


class UsageRow(Row, kw_only=True):
    """What one attempt of a call used. Slot 0 is the call's bill, slot n its attempt n as our cost.

    `bill_final` and `cost_final` say that no later report changes that side. `uplifts` and `tries` are JSON. Tokens stand
    in a column a class; `cache_write_1h` is the class `cache_write_long` by its older name, which the table keeps.
    """

    TABLE: ClassVar[str] = "usage"
    KEY: ClassVar[tuple[str, ...]] = ("request_id", "slot")
    CHANGES: ClassVar[tuple[str, ...] | None] = None
    SORTED: ClassVar[bool] = False  # they are numbered as they come

    request_id: str
    slot: int
    attempt: int
    key_id: str
    model: str
    provider: str
    pool: str
    outcome: str
    known: str
    bill_final: bool
    cost_final: bool
    input: int
    cached: int
    cache_write: int
    cache_write_1h: int
    input_audio: int
    output: int
    reasoning: int
    output_audio: int
    uplifts: str
    list_nano: int
    billed_nano: int
    uncollected_nano: int
    cost_nano: int
    tries: str
    queued_ms: int
    first_byte_ms: int
    duration_ms: int
    finished_ms: int
    created_ms: int
    cached_audio: int
    refunded_nano: int = 0  # of the bill, by operators
    lots_nano: int = 0  # of the bill, what promotional credit and goodwill paid and have not had back

    @property
    def usage(self) -> TokenUsage:
        """Its tokens."""
        return TokenUsage(*_tokens(self))

    def count(self, usage: TokenUsage) -> None:
        """Sets its tokens."""
        for column, tokens in zip(TOKEN_COLUMNS.values(), astuple(usage), strict=True):
            setattr(self, column, tokens)


# The column of each class of tokens.
TOKEN_COLUMNS = {name: name for name in TokenUsage.__struct_fields__} | {"cache_write_long": "cache_write_1h"}
_tokens = attrgetter(*TOKEN_COLUMNS.values())


def summed(rows: Iterable[UsageRow]) -> TokenUsage:
    """The tokens of some calls together, class by class."""
    return TokenUsage(*map(sum, zip(*map(_tokens, rows), strict=True)))


class Surprise(Row, kw_only=True):
    """A service tier, region or speed that an upstream account served a model under though no hold reckoned with it."""

    TABLE: ClassVar[str] = "surprises"
    KEY: ClassVar[tuple[str, ...]] = ("pool", "account", "upstream", "uplift")

    pool: str
    account: str
    upstream: str
    uplift: str
    request_id: str  # of the first call that met it
    created_ms: int

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Its key."""
        return self.pool, self.account, self.upstream, self.uplift


class Parked(Row, kw_only=True):
    """An event that could not be applied, kept for a person: msgpack of the event, or the message as it came."""

    TABLE: ClassVar[str] = "parked_events"
    KEY: ClassVar[tuple[str, ...]] = ("request_id", "attempt")

    request_id: str
    attempt: int
    reason: str
    payload: bytes
    created_ms: int


class Transfer(Row, kw_only=True):
    """Money from one account to another. Never changed."""

    TABLE: ClassVar[str] = "transfers"
    KEY: ClassVar[tuple[str, ...]] = ("request_id", "kind", "attempt", "line")
    SORTED: ClassVar[bool] = False

    request_id: str
    kind: str
    attempt: int
    line: int
    debit: str
    credit: str
    amount_nano: int
    created_ms: int


class StreamRange(Row, kw_only=True):
    """Sequences of a stream that were applied ahead of a gap."""

    TABLE: ClassVar[str] = "stream_ranges"
    KEY: ClassVar[tuple[str, ...]] = ("identity", "first_seq")

    identity: str
    first_seq: int
    last_seq: int
