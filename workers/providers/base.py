"""Owns the seam between a worker and a provider family: what a family must do, and nothing of how calls are run.

A family is a package whose `family` module has one class that satisfies `Family`. It does no I/O: the worker sends
what `Exchange.request` builds, and feeds the exchange what came back. An exchange is one call of an upstream. A
translated family tells typed events to an `Answer` of the caller's dialect (`workers/answers`), and never makes a
caller's bytes itself. It imports nothing of `workers.calls`.
Adding a family is that package, a folder of fixtures, a case in `tests/workers/providers/test_families.py`, and a line
in `workers/providers/__init__.py`, and its name in `schemas/catalogue/families.py`. If its accounts can be asked for
their models it is also a `Listing`, with a case in `test_lists.py`. A vendor that speaks a family's
protocol is no family: it is a row of `runtime/catalogue/presets.toml`.
"""

import functools
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import ClassVar, Protocol, TypeGuard, runtime_checkable

from msgspec import Struct, structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.errors import WireError
from schemas.money.pricing import TokenUsage
from workers.answers.said import Said
from workers.upstream.request import UpstreamRequest

EXCHANGE_KINDS_MAX = 64  # classes of exchanges: there are about a dozen


class Action(StrEnum):
    """What a failed try means for what it is about, and for the call."""

    STOP = "stop"  # the request itself is at fault, or was served: no other account can help
    NEXT = "next"  # this account or this moment: the next account may serve it; many in a row count
    COOL = "cool"  # as NEXT, and a limit or a load that is over by itself, after `cool_s`
    DENIED = "denied"  # as NEXT, and the account may not use this model
    REFUSED = "refused"  # as NEXT, and the account's credentials are refused
    SPENT = "spent"  # as NEXT, and there is no credit left at the provider
    GONE = "gone"  # as NEXT, and the provider says that this model no longer exists


class About(StrEnum):
    """What a failed try says something about, and so what it may put out of use."""

    REQUEST = "request"  # nothing but this request
    MODEL = "model"  # the upstream model, on the account that was tried
    ACCOUNT = "account"  # the account, with all its models


_ABOUT = {
    Action.STOP: About.REQUEST,
    Action.NEXT: About.MODEL,
    Action.COOL: About.MODEL,
    Action.DENIED: About.MODEL,
    Action.REFUSED: About.ACCOUNT,
    Action.SPENT: About.ACCOUNT,
    Action.GONE: About.MODEL,
}


class Fault(Struct, frozen=True):
    """A failed try, in the caller's words and with what to do about it.

    `cool_s` is how long what it is `about` is left alone; None for as long as the action usually takes. `sure` says
    that no request can bring it about: it then stands at once, else only when calls of two keys have met it.
    """

    error: WireError
    action: Action
    cool_s: float | None = None
    unbilled: bool = True  # the provider bills nothing for this failure
    thoughts_refused: bool = False  # signatures of earlier turns are at fault: it may go well without them
    about: About = About.REQUEST  # left out: what its action is usually about
    sure: bool = False
    reason: str = ""  # for operators, where the caller's words say less

    def __post_init__(self) -> None:
        if self.about is About.REQUEST:
            structs.force_setattr(self, "about", _ABOUT[self.action])


class Exchange(Protocol):
    """One upstream call of one job: builds the request, then reads one answer, plain or streamed. Not reusable.

    One whose answers may end without a word on what was produced says so in `unsure`: its `usage` is an estimate then.
    """

    @property
    def usage(self) -> TokenUsage | None:
        """The provider's last word so far, cumulative; None if it has said nothing."""
        ...

    @property
    def output_bytes(self) -> int:
        """Bytes of content, reasoning and tool arguments seen so far."""
        ...

    @property
    def said(self) -> Said:
        """The same output, as far as it is kept for an estimate."""
        ...

    @property
    def uplifts(self) -> tuple[str, ...]:
        """The service tier and region that served."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the answer's terminal event was seen."""
        ...

    @property
    def fault(self) -> Fault | None:
        """Why the answer is not one, or not complete."""
        ...

    @property
    def thoughts(self) -> dict[str, str]:
        """The signatures to keep, by tool-call id."""
        ...

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The call to make with one account's credentials; called again for each further try, which starts afresh."""
        ...

    def answer(self, body: bytes) -> bytes:
        """The caller's JSON body for a whole 2xx answer. Sets `fault` and returns b"" if it is not one."""
        ...

    def feed(self, data: bytes) -> bytes:
        """The caller's SSE events, whole and joined, for some bytes of a 2xx stream, cut anywhere; b"" for none yet.

        Never `[DONE]`. On an error event or nonsense, returns what came before it and sets `fault`.
        """
        ...

    def close(self) -> bytes:
        """The caller's last events at the upstream's end of file. Sets `fault` if the terminal event is missing."""
        ...


@runtime_checkable
class Headed(Protocol):
    """An exchange that learns from the head of a 2xx answer: what it is billed as, where that is said there."""

    def head(self, headers: Mapping[str, str]) -> None:
        """Takes the head in, before any byte of the answer."""
        ...


@functools.lru_cache(maxsize=EXCHANGE_KINDS_MAX)
def _heads(kind: type) -> bool:
    return issubclass(kind, Headed)


def heads(exchange: Exchange) -> TypeGuard[Headed]:
    """Whether an exchange learns from heads. To look at an object for a protocol costs 20 µs: here, once a class."""
    return _heads(type(exchange))


@runtime_checkable
class Forgetful(Protocol):
    """An exchange that can do without the thought signatures that its request carries."""

    def forget_thoughts(self) -> bool:
        """Takes them out of the request. False if there are none (any more): the same call would fail again."""
        ...


@runtime_checkable
class Yielding(Protocol):
    """An exchange that can do without something of its request that a server does not know."""

    def without(self, status: int, body: bytes) -> UpstreamRequest | None:
        """The same call once more, without what this error answer refuses; None if it would be refused again."""
        ...

    def taken(self) -> None:
        """That call was answered with 2xx: the server is known from now on."""
        ...


@runtime_checkable
class Laborious(Protocol):
    """An exchange whose long answers take a while to translate: that is done in a thread, and in pieces."""

    laborious: ClassVar[bool]


@runtime_checkable
class Companionable(Protocol):
    """An exchange that may run while others of its job do: its plain answer is whole once the last of them has ended."""

    @property
    def at_once(self) -> int:
        """How many of the job's calls may run at a time."""
        ...


class Family(Protocol):
    """One provider family, made once per worker."""

    bills_abandoned: ClassVar[bool]  # the provider bills the whole answer though we hang up: drain instead
    tells_totals: ClassVar[
        bool
    ]  # each chunk of its streams says what was produced so far, reasoning included

    def open(self, job: Job, model: Model, thoughts: Mapping[str, str]) -> list[Exchange]:
        """The exchanges that serve a job: one, or one per prompt of an emulated completion, run in order.

        Of several, the caller's bytes are joined in order and the usages summed; for a plain answer all but the last
        return b"" from `answer`, and the last one renders the whole.
        `thoughts` holds the signatures known for the tool-call ids that `thought_ids` named. Raises RefusedError for
        what should have been refused before the hold.
        """
        ...

    def thought_ids(self, job: Job) -> list[str]:
        """Tool-call ids in the job's history whose signatures this family wants."""
        ...

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
        """What a non-2xx answer means. Messages are scrubbed of keys, ARNs, account and project ids."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A family whose provider counts the tokens of a Messages request for nothing."""

    def count(self, job: Job, model: Model, account: AccountSettings) -> UpstreamRequest:
        """What asks for the count of a job of Messages. Raises RefusedError where it cannot be asked, AccountError."""
        ...

    def counted(self, body: bytes) -> int | None:
        """The figure in a 2xx answer; None for what has none."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """A family that must fetch credentials (a cloud's chain): the worker awaits this before it takes jobs."""

    async def prepare(self, accounts: Sequence[AccountSettings]) -> None:
        """Fetches what these accounts need and keeps it fresh from then on, off the path of calls. Never raises."""
        ...

    def keep(self, accounts: Sequence[AccountSettings]) -> None:
        """Ends and forgets what none of these accounts needs. Of none at all nothing is left, no thread either."""
        ...


@runtime_checkable
class CountsPrompts(Protocol):
    """A family whose provider counts a prompt for free, without answering it."""

    def prompt_count(self, request: UpstreamRequest) -> UpstreamRequest | None:
        """The call that asks for the count of what an exchange's request has as its prompt; None where none does."""
        ...

    def counted(self, body: bytes) -> int | None:
        """Tokens of the prompt, by a 200 answer to that call; None for what is no such answer."""
        ...


class AccountError(Exception):
    """Raised by `Exchange.request`: this account cannot make the call now. Nothing was sent."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.error.message)
        self.fault = fault


class RefusedError(Exception):
    """A job that this family cannot serve as it is."""

    def __init__(self, error: WireError) -> None:
        super().__init__(error.message)
        self.error = error
