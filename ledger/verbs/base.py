"""Owns the ways in which a ledger answers a verb: by a commit, by an act, by a renewal, or by a read."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic

from msgspec import Struct, field

from ledger.commits.commands import Command, Write
from ledger.commits.commit import Committer
from ledger.configured import Configured
from ledger.openid.signing import Signing
from ledger.payments.payments import Payments
from ledger.statements.issuing import Issuing
from ledger.store.base import Store
from ledger.stream.consumer import Consumer
from ledger.verbs.beats import Beats
from schemas.verbs.base import Form, Reply, Rows, Verb


class Services(Struct, frozen=True, kw_only=True, eq=False):
    """What reads stand on."""

    store: Store
    committer: Committer
    consumer: Consumer
    beats: Beats
    providers: dict[str, str]  # of the pools in the settings, by name
    auditing: asyncio.Lock  # one proof at a time
    issuing: Issuing
    configured: Configured
    signing: Signing = field(default_factory=Signing)
    payments: Payments | None = None  # where Stripe is configured
    proven: list[tuple[float, Rows]] = field(default_factory=list)  # the last proof, by time.monotonic()


class Read(Struct, Generic[Form, Reply], frozen=True, kw_only=True, eq=False):
    """Answered from the books as they are, beside the writer. `answer` may raise StoreError: then there is no reply."""

    verb: Verb[Form, Reply]
    answer: Callable[[Services, Form], Awaitable[Reply]]


class Renewal(Struct, Generic[Form, Reply], frozen=True, kw_only=True, eq=False):
    """Answered by the writer once the leases are renewed, all that wait in one statement."""

    verb: Verb[Form, Reply]


class Acts(Struct, Generic[Form], frozen=True, kw_only=True, eq=False):
    """Answered by an act, alone in its commit. `command` is what the writer commits, or the answer if it cannot be read.

    `proving` comes to the same for a request whose right has to be asked for elsewhere first; None for all others.
    """

    verb: Verb[Form, Rows]
    command: Callable[[Form], Command | Rows]
    proving: Callable[[Services, Form], Coroutine[Any, Any, Command | Rows] | None] | None = None


Answer = Write[Any, Any] | Acts[Any] | Renewal[Any, Any] | Read[Any, Any]
