"""Owns the names of the rows that a batch needs, as verbs and acts say them and loading finds them."""

from msgspec import Struct, field

from ledger.rules.identity import Proof


class Capping(Struct, frozen=True):
    """What an act on a cap needs: the cap by its id, and where one is made or ended all keys of its scope.

    `period` and `zone` ("" for the organisation's) say which calls one that is made has to count.
    """

    cap_id: str
    scope: str = ""
    period: str = ""
    zone: str = ""
    ends: bool = False


class Repeated(Struct, frozen=True):
    """Events that one endpoint is to get again: one by its id, or all since a moment, or since so long, that it wants."""

    endpoint: str
    event: str = ""
    since_ms: int = 0
    ago_s: int = 0


class Wanted(Struct):
    """Names of the rows that a batch needs. Requests bring their holds, usage and accounts along."""

    request_ids: set[str] = field(default_factory=set)
    billed: set[str] = field(default_factory=set)  # request ids whose usage matters too
    digests: set[str] = field(default_factory=set)
    former: dict[str, str] = field(
        default_factory=dict
    )  # digests by peppers of before, each with that of now
    moves: bool = False  # what is found by these is hashed anew
    key_ids: set[str] = field(default_factory=set)
    profiles: set[str] = field(default_factory=set)
    accounts: set[str] = field(default_factory=set)  # of callers, by id
    capping: list[Capping] = field(default_factory=list)  # what acts on caps need, each alone in its commit
    changed_keys: set[str] = field(default_factory=set)  # ids of keys that are read to be changed: locked
    secrets_of: set[str] = field(default_factory=set)  # ids of keys whose secrets matter, all of them
    owners: set[str] = field(default_factory=set)  # profiles that are locked, with their wallets
    organizations: set[str] = field(default_factory=set)  # owners that all accounts of their keys come with
    scopes: set[str] = field(
        default_factory=set
    )  # of limits that change: all their keys, accounts, open holds
    # Of an act, which is alone in its commit: its credential and idempotency key, which may be "".
    record: tuple[str, str] | None = None
    deposits: set[str] = field(default_factory=set)  # request ids of transfers
    references: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)  # request ids whose refunds matter
    others: set[str] = field(default_factory=set)  # accounts that are not callers'
    upstream: set[tuple[str, str]] = field(default_factory=set)  # accounts of pools
    lots: bool = False  # of all callers' accounts
    parked: tuple[str, int] | None = None  # an event, by request id and attempt
    endpoints: set[str] = field(default_factory=set)  # of webhooks, by id: locked
    endpoints_of: str | None = None  # how many an organisation has
    repeated: "Repeated | None" = None
    proof: Proof | None = None  # by whose right, unless it is the command's
    proof_digests: list[str] = field(default_factory=list)  # of it, the first as secrets are hashed now
    operators: set[str] = field(default_factory=set)  # with their sessions and links
    owner_operators: bool = False  # of the whole deployment
    management_keys: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    nonce: str = ""  # of a sign-in by a provider; those that are over come with it
    topup: str = ""  # with its refunds and disputes
    claim: str = ""  # a refund or dispute, whosever it is
    topups_of: str = ""  # how many unpaid ones an organisation has
    secret: str = ""  # of a session or link that is to be made: whether it is in use
