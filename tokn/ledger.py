"""Owns talking to a ledger as a command: finding one, asking it, and saying why nothing answers."""

import asyncio
import contextlib
import getpass
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from runtime.bus.bus import Bus, BusError, PayloadTooLarge
from runtime.ledger import LedgerAwayError, LedgerClient, Patience, once
from runtime.settings.settings import NatsSettings, load
from schemas.admin.verbs import ADMIN_READ, AdminRead, Question
from schemas.bus.subjects import Role, new_id
from schemas.verbs.acts import ACT, AUDIT_LOG, ActRequest, LogQuery
from schemas.verbs.audit import AUDIT
from schemas.verbs.base import VERSION, Form, Rows, Verb, encode
from schemas.verbs.caps import CAP_LIST, CapList
from schemas.verbs.exports import EXPORT, ExportBegin, ExportQuery
from schemas.verbs.keys import KEY_LIST, KeyList
from schemas.verbs.models import MODELS, ModelsQuery
from schemas.verbs.money import CREDITS, CreditsQuery
from schemas.verbs.organizations import ORG_LIST, OrganizationList
from schemas.verbs.statements import STATEMENTS, StatementList
from schemas.verbs.sums import SUMS, SumsQuery
from schemas.verbs.usage import USAGE, UsageQuery
from schemas.verbs.webhooks import (
    DELIVERIES,
    EVENTS,
    WEBHOOKS,
    DeliveriesQuery,
    EventsQuery,
    WebhooksQuery,
)
from tokn.errors import NoLedgerError, RefusedError, UnknownError
from tokn.folder import Folder

CONNECT_TIMEOUT_S = 5.0
REPLY_TIMEOUT_S = 15.0
AUDIT_TIMEOUT_S = 600.0
PAGE_ROWS = 100
ACTOR_CHARS_MAX = 200
ACT_PATIENCE = Patience(
    total_s=REPLY_TIMEOUT_S, try_s=5.0, pause_s=0.2
)  # asked again with its key, it is done once
# A page of an export may be asked for again: it is of the same moment.
EXPORT_PATIENCE = Patience(total_s=120.0, try_s=60.0, pause_s=0.5)
PATIENCE_S = 30.0
PATIENCE_STEP_S = 0.05
# What is asked page by page: its verb, and where the cursor of the page before goes.
_PAGED: Final[Mapping[type, tuple[Verb[Any, Rows], str]]] = {
    UsageQuery: (USAGE, "before"),
    KeyList: (KEY_LIST, "after"),
    ModelsQuery: (MODELS, "after"),
    CreditsQuery: (CREDITS, "before"),
    LogQuery: (AUDIT_LOG, "before"),
    CapList: (CAP_LIST, "after"),
    OrganizationList: (ORG_LIST, "after"),
    SumsQuery: (SUMS, "after"),
    WebhooksQuery: (WEBHOOKS, "after"),
    DeliveriesQuery: (DELIVERIES, "before"),
    EventsQuery: (EVENTS, "before"),
    StatementList: (STATEMENTS, "before"),
}


def find(config: Path | None, data: Path) -> NatsSettings:
    """Where the ledger is: by a file that names a NATS server, else by the data folder of a running `tokn up`.

    Raises NoLedgerError, SettingsError.
    """
    run = Folder(data).read_run()
    if config is None and run is not None:
        passwords = {Role.COMMAND.value: run.command_password} if run.command_password else {}
        return NatsSettings(url=run.nats_url, passwords=passwords)
    settings = load(config, credentials=False, books=False, pages=False)
    if settings.nats.url:
        return settings.nats
    if config is not None and run is not None:
        # The file is of an embedded deployment: the folder knows its server.
        return find(None, data)
    raise NoLedgerError(
        f"no tokn up runs on {data.absolute()}: start it, or name its folder with --data or TOKN_DATA,"
        " or a deployment with --config"
    )


def actor() -> str:
    """Who runs this command, as the audit log names them."""
    with contextlib.suppress(OSError, KeyError):  # a user without a name
        return f"cli:{getpass.getuser()}@{socket.gethostname()}"[:ACTOR_CHARS_MAX]
    return "cli"


class Ledger:
    """A ledger as one command sees it: each request is one short connection."""

    def __init__(self, nats: NatsSettings) -> None:
        self._nats = nats

    def ask(self, verb: Verb[Form, Rows], request: Form) -> Rows:
        """The ledger's rows. Raises RefusedError, NoLedgerError, SettingsError."""
        return asyncio.run(self._ask(verb, request))

    def ask_patiently(self, verb: Verb[Form, Rows], request: Form) -> Rows:
        """As `ask`, but waits PATIENCE_S for a ledger that is starting."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.ask(verb, request)
            except NoLedgerError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PATIENCE_STEP_S)

    def act(
        self,
        name: str,
        form: Any,
        key: str = "",
        verb: Verb[ActRequest, Rows] = ACT,
        patience: Patience = ACT_PATIENCE,
    ) -> dict[str, Any]:
        """Does an act once, under an idempotency key that is made here unless it is given. Returns the answer's row.

        Raises RefusedError and NoLedgerError, which say that it was not done, and UnknownError, which says how to
        repeat it.
        """
        key = key or new_id("idem_")
        request = ActRequest(VERSION, name, encode(form), key, actor())
        try:
            return dict(asyncio.run(self._ask(verb, request, patience)).rows[0])
        except RefusedError as error:
            raise RefusedError(f"not done: {error}") from None
        except UnknownError as error:
            raise UnknownError(
                f"not known whether it was done ({error}): repeat the same with --idempotency-key {key}"
            ) from None
        except NoLedgerError as error:
            raise NoLedgerError(f"not done: {error}") from None

    def pages(
        self,
        limit: int,
        request: UsageQuery
        | KeyList
        | ModelsQuery
        | CapList
        | OrganizationList
        | SumsQuery
        | StatementList
        | CreditsQuery
        | LogQuery
        | WebhooksQuery
        | DeliveriesQuery
        | EventsQuery,
    ) -> Iterator[dict[str, Any]]:
        """Up to `limit` rows, page by page."""
        rest = limit
        while rest > 0:
            size = min(rest, PAGE_ROWS)
            verb, place = _PAGED[type(request)]
            reply = self.ask(verb, msgspec.structs.replace(request, limit=size))
            yield from reply.rows[:rest]
            rest -= len(reply.rows)
            if not reply.cursor or not reply.rows:
                return
            request = msgspec.structs.replace(request, **{place: reply.cursor})

    def admin_pages(self, limit: int, question: Question[Any], form: Any) -> Iterator[dict[str, Any]]:
        """Up to `limit` rows of what a console could read, page by page."""
        rest = limit
        while rest > 0:
            size = min(rest, PAGE_ROWS)
            asked = AdminRead(VERSION, question.name, encode(msgspec.structs.replace(form, limit=size)))
            reply = self.ask(ADMIN_READ, asked)
            yield from reply.rows
            rest -= len(reply.rows)
            if not reply.cursor or not reply.rows:
                return
            form = msgspec.structs.replace(form, after=reply.cursor)

    def export(self, request: ExportQuery) -> Iterator[Rows]:
        """All pages of an export, over one connection, once the audit log has it. Raises RefusedError, NoLedgerError."""
        begun = ExportBegin(VERSION, request.name, request.since_ms, request.until_ms, request.organization)
        entry = ActRequest(VERSION, EXPORT.name, encode(begun), new_id("idem_"), actor())
        with asyncio.Runner() as runner:
            bus = runner.run(self._connect())
            try:
                runner.run(self._asked(bus, ACT, entry, EXPORT_PATIENCE))
                while True:
                    reply = runner.run(self._asked(bus, EXPORT, request, EXPORT_PATIENCE))
                    yield reply
                    if not reply.cursor:
                        return
                    request = msgspec.structs.replace(request, cursor=str(reply.cursor))
            finally:
                runner.run(bus.close())

    async def _ask(self, verb: Verb[Form, Rows], request: Form, patience: Patience | None = None) -> Rows:
        timeout_s = AUDIT_TIMEOUT_S if verb is AUDIT else REPLY_TIMEOUT_S
        bus = await self._connect()
        try:
            return await self._asked(bus, verb, request, patience or once(timeout_s))
        finally:
            await bus.close()

    async def _connect(self) -> Bus:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await Bus.connect(
                    self._nats, Role.COMMAND, name="tokn command", on_closed=lambda: None
                )
        except TimeoutError:
            raise NoLedgerError(f"NATS does not answer at {self._nats.url}") from None
        except BusError as error:
            raise NoLedgerError(f"NATS at {self._nats.url}: {error}") from None

    async def _asked(self, bus: Bus, verb: Verb[Form, Rows], request: Form, patience: Patience) -> Rows:
        try:
            reply = await LedgerClient(bus, patience).ask(verb, request)
        except PayloadTooLarge as error:
            raise RefusedError(str(error)) from None
        except LedgerAwayError as error:
            kind = UnknownError if error.reached else NoLedgerError
            raise kind(
                f"no ledger answers at {self._nats.url} ({error}): is `tokn ledger` running?"
            ) from None
        except BusError as error:
            raise NoLedgerError(
                f"no ledger answers at {self._nats.url} ({error}): is `tokn ledger` running?"
            ) from None
        if reply.problem:
            raise RefusedError(reply.problem)
        return reply
