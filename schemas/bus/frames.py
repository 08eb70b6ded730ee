"""Owns the messages of one call between edge and worker: the job, its frames, control, and the beats of workers.

All are msgpack arrays that carry a version first, so neighbouring versions can run side by side: a reader ignores
fields it does not know at the end, and a writer only ever adds fields there, with defaults.
"""

from collections.abc import Collection, Iterable
from datetime import date
from decimal import Decimal
from enum import StrEnum

import msgspec
from msgspec import Struct, structs

from schemas.errors import WireError
from schemas.money.pricing import NO_USAGE, Price, TokenUsage

VERSION = 1
FRAME_BYTES_MAX = (
    256 * 1024
)  # payload of one frame, of one request part, and of a body that travels inside its job
WINDOW_BYTES_MAX = 1024 * 1024  # frame payload in flight for one attempt, beyond what the edge has consumed
HEADERS_BYTES_MAX = 2 * 1024  # names and values of a job's headers
REQUEST_BYTES_MAX = 32 * 1024 * 1024
BEAT_INTERVAL_S = 1.0
CREDIT_INTERVAL_S = 1.0
ALIVE_INTERVAL_S = 5.0  # a worker that has nothing to say for a call says so this often
SILENCE_MAX_S = 15.0  # an edge gives an attempt up after so long without any frame


class Job(Struct, frozen=True, array_like=True):
    """One attempt of one call, published to `pool.<pool>` with the attempt's frame inbox as reply.

    `body` is the caller's body, re-encoded (gateway-private keys removed, `model` still the caller's). If `parts` is
    not 0 it is empty, and so many `Part`s follow on the worker's control subject after its accept, `body_bytes` in all.
    """

    v: int
    request_id: str
    attempt: int
    dialect: str  # the caller's protocol (`schemas.dialects`): it decides the shape of the answer
    model: str  # the id of the row that serves, and what the answer says
    upstream: str  # what the provider is asked for
    stream: bool
    include_usage: bool  # the caller asked for usage in a stream
    include_cost: bool  # usage objects say what the call is billed, as `cost`
    limit: int  # granted output tokens per choice; the charge is bounded by it
    write_limit: (
        bool  # the caller's body and the upstream's own maximum allow more than `limit`: send it upstream
    )
    prompt_max: int  # bound on prompt tokens
    text_bytes: int  # bytes of the prompt's text, for estimates
    choices: int
    hold_list_nano: int  # the hold at list price: what the call can cost us at most
    deadline_s: float  # seconds the whole call may still take
    published_ms: int  # unix time, for the time spent queued
    body: bytes
    body_bytes: int
    parts: int = 0
    price: Price | None = None
    rate: Decimal = Decimal(0)
    scope: str = (
        ""  # stands for the key: whose calls met a fault, and whose finished items a reference may name
    )
    headers: tuple[tuple[str, str], ...] = ()  # for later: the caller's, those that its dialect names
    media_tokens: int = 0  # what pictures, files and sound in the prompt likely count, for estimates; 0: none
    candidate: int = 0  # the place of `model` among the hold's candidates; 0 of a call with one
    last: bool = True  # no other candidate may serve if this one cannot
    keeps: bool = False  # the answer's items are kept, for references in later requests
    references: tuple[str, ...] = ()  # ids in the body whose items `prompt_max` has counted
    # What a bill is worked out from, beside `price` and `rate`. None, of an edge or a ledger of the last version: it cannot be.
    hold_nano: int | None = None  # the hold: no bill is above it
    uplifts: tuple[str, ...] | None = None  # the service tiers, regions and speeds that the hold reckons with


class Accept(Struct, frozen=True, array_like=True, tag="accept"):
    """The first frame: this worker has the call. Its control subject is `worker.<worker_id>`."""

    seq: int  # always 0
    worker_id: str
    v: int = VERSION
    seal: bytes = b""  # of a job with parts: the key that they are sealed to (`runtime.sealing`)


class Bounce(Struct, frozen=True, array_like=True, tag="bounce"):
    """The only frame of an attempt that was not taken: the worker is full or stopping, or has no usable account.

    With `error`, offering again cannot help now: every account is refused, cooling or spent.
    """

    worker_id: str
    error: WireError | None = None


class Data(Struct, frozen=True, array_like=True, tag="data"):
    """Bytes for the caller: whole SSE events of a stream, or a piece of a plain answer's body.

    Waiting events are joined into one frame. The first data frame means that the upstream has answered. Both counts
    are cumulative, over everything that the attempt has produced up to and including this frame: `output_tokens` by the
    worker's estimate, for whoever settles; `events` as the caller's dialect numbers them.
    """

    seq: int
    data: bytes
    output_tokens: int = 0
    events: int = 0  # 0 in a dialect that has none to number


class Alive(Struct, frozen=True, array_like=True, tag="alive"):
    """The worker still has the call; `last_seq` is the highest frame it has sent, so that a lost tail shows.

    `output_tokens` as in `Data`: a model that reasons in secret produces without sending.
    """

    last_seq: int
    output_tokens: int = 0


class Head(Struct, frozen=True, array_like=True, tag="head"):
    """For later: headers of the answer, before its first data frame. No worker sends one yet."""

    seq: int
    headers: tuple[tuple[str, str], ...]


class EarlyUsage(Struct, frozen=True, array_like=True, tag="usage"):
    """Usage that the provider has sent so far (cumulative), so that an edge can estimate well."""

    seq: int
    usage: TokenUsage


class End(Struct, frozen=True, array_like=True, tag="end"):
    """The call is complete and its bill is durable. `data` is the last of the caller's bytes, without `[DONE]`."""

    seq: int
    data: bytes = b""
    usage: TokenUsage = NO_USAGE
    billed_nano: int | None = None  # what the ledger bills; None where nobody wants it, or it is not certain


class Failed(Struct, frozen=True, array_like=True, tag="failed"):
    """The call failed for good; its usage event is on its way. The edge makes a status of it, or an error event.

    With `gives_way` the call is not over: its caller has seen nothing, another candidate may serve, and the event
    leaves the hold open. Also the last frame of an attempt that its edge has cancelled, once the event is durable: nothing more is to be
    followed. Frames before it may never have been sent.
    """

    seq: int
    error: WireError
    gives_way: bool = False


Frame = Accept | Bounce | Data | Alive | Head | EarlyUsage | End | Failed


class Cancel(Struct, frozen=True, array_like=True, tag="cancel"):
    """Stop an attempt: its caller has left, or another attempt has replaced it."""

    request_id: str
    attempt: int


class Credit(Struct, frozen=True, array_like=True, tag="credit"):
    """Absolute credit: the edge has consumed all frames up to and including `through`. Repeated each second."""

    request_id: str
    attempt: int
    through: int


class Part(Struct, frozen=True, array_like=True, tag="part"):
    """Piece `index` of a large request body, from 0; `sealed_by` is the key that sealed it, empty if none has."""

    request_id: str
    attempt: int
    index: int
    data: bytes
    sealed_by: bytes = b""  # an edge of the last version seals none


class Probe(Struct, frozen=True, array_like=True, tag="probe"):
    """Is this worker there? Sent as a request; answered with an empty message."""


class Recite(Struct, frozen=True, array_like=True, tag="recite"):
    """An edge has heard a brief beat of a pool, and does not know what it stands for: say it in full."""

    pool: str


Control = Cancel | Credit | Part | Probe | Recite


class AccountState(StrEnum):
    """Whether a worker would use an upstream account now."""

    OK = "ok"
    COOLING = "cooling"  # rate limited or failing; back at `until`
    REFUSED = "refused"  # the provider refuses our credentials
    SPENT = "spent"  # its credit does not cover what is in flight
    GONE = "gone"  # of a model at an account: the provider no longer has it


class ModelBeat(Struct, frozen=True, array_like=True):
    """One upstream model that is out of use at one account, until so many unix seconds.

    Not `for_all`, the calls of one key met it: others' still go there, and prove it or not.
    """

    id: str  # what the provider is asked for
    state: AccountState
    until: float
    reason: str = ""
    for_all: bool = True  # not only for the calls of the one key that met it


class ModelFact(Struct, frozen=True, array_like=True):
    """What accounts' own lists say of an upstream model beyond its row: an end, or a lower limit, and nothing else.

    `retired`: every account says so. `max_output` is in tokens, 0 where no list has less than the row.
    """

    id: str  # what the provider is asked for
    retired: bool = False
    deprecated: bool = False
    shutdown: date | None = None
    max_output: int = 0


def joined(facts: Iterable[ModelFact]) -> dict[str, ModelFact]:
    """What several lists say together, by upstream model: of each thing the stricter."""
    found: dict[str, ModelFact] = {}
    for fact in facts:
        other = found.get(fact.id)
        found[fact.id] = fact if other is None else _stricter(fact, other)
    return found


def _stricter(one: ModelFact, other: ModelFact) -> ModelFact:
    days = [day for day in (one.shutdown, other.shutdown) if day is not None]
    limits = [limit for limit in (one.max_output, other.max_output) if limit]
    return ModelFact(
        one.id,
        retired=one.retired and other.retired,
        deprecated=one.deprecated or other.deprecated,
        shutdown=min(days, default=None),
        max_output=min(limits, default=0),
    )


class AccountBeat(Struct, frozen=True, array_like=True):
    """One upstream account as one worker sees it. `until` is unix seconds, 0 when not cooling.

    `models` are those out of use there, at most a few of the `models_out` that there are. Its own list of models was
    read at `listed_at` (unix seconds, 0 for not yet) and had so many `listed`, or could not be, for `list_error`.
    """

    id: str
    state: AccountState
    inflight: int
    capacity: int
    until: float = 0.0
    reason: str = ""
    models: tuple[ModelBeat, ...] = ()
    models_out: int = 0
    listed_at: float = 0.0
    listed: int = 0
    list_error: str = ""
    misreported: int = 0  # answers that said to have used more tokens than their calls were granted


class Beat(Struct, frozen=True, array_like=True):
    """What one worker can do for one pool; each second, and on every change of capacity.

    `models` are the ids of callers that it can serve now, `gone` those of which the provider said that they no longer
    exist or that no account lists, `missing` why any other model of the pool is not served. `facts` are what lists say of
    models, `unlisted` the ids that are served though no list has them, `unpriced` the listed ids that cannot be sold, at
    most a few of them. Where all these are many they go once a change: `digest` stands for them, and a brief beat, which
    has it and none of them, says that they are as they were.
    """

    v: int
    worker_id: str
    pool: str
    provider: str
    inflight: int
    capacity: int
    accepting: bool
    models: tuple[str, ...]
    gone: tuple[str, ...]
    accounts: tuple[AccountBeat, ...]
    missing: dict[str, str] = {}
    digest: str = ""
    facts: tuple[ModelFact, ...] = ()
    unlisted: tuple[str, ...] = ()
    unpriced: tuple[str, ...] = ()

    @property
    def brief(self) -> bool:
        """Whether it leaves out what its digest stands for."""
        return bool(self.digest) and not any(self.lists)

    @property
    def lists(self) -> tuple[Collection[object], ...]:
        """All that a digest stands for."""
        return self.models, self.gone, self.missing, self.facts, self.unlisted, self.unpriced

    def without_lists(self) -> "Beat":
        """The same in brief."""
        return structs.replace(self, models=(), gone=(), missing={}, facts=(), unlisted=(), unpriced=())

    def with_lists(self, full: "Beat") -> "Beat":
        """The same in full, with what another beat of the same digest says."""
        return structs.replace(
            self,
            models=full.models,
            gone=full.gone,
            missing=full.missing,
            facts=full.facts,
            unlisted=full.unlisted,
            unpriced=full.unpriced,
        )


encode = msgspec.msgpack.Encoder(decimal_format="string").encode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_frame = msgspec.msgpack.Decoder(Frame).decode
decode_control = msgspec.msgpack.Decoder(Control).decode
decode_beat = msgspec.msgpack.Decoder(Beat).decode
