"""Owns how statements are issued: a month some time after its end, in order, numbered without holes, and never changed again.

A statement is made beside the writer, since a month that is over does not change any more; what is written between two
commits is only its rows. That has the audit log's head, so no two ledgers number at once.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec import Struct, structs
from msgspec.structs import asdict, astuple

from ledger.acts.base import MISMATCH, add_entry, hash_of, is_replay, request_problem
from ledger.commits.ledgers import OLDER_RUNS, admitted, take_over
from ledger.commits.load_act import load_act
from ledger.commits.load_save import save, wanted
from ledger.commits.wanted import Wanted
from ledger.commits.writer import Writer
from ledger.prices.offers import Catalogue
from ledger.rules.book import Book, Rules, Told
from ledger.rules.grants import Grant, refusal
from ledger.rules.missing import missing
from ledger.rules.statement_rows import ISSUED, Statement
from ledger.statements import making, movements
from ledger.statements.making import Made, shown
from ledger.statements.months import Month, after, month_at, month_named
from ledger.store.base import Reader, Store, StoreError, Transaction
from ledger.store.filling import LEAST
from ledger.store.statements import STATEMENT_LINES, STATEMENTS
from runtime.log import get_logger
from runtime.settings.billing import BILLING, BillingSettings
from schemas.admin.reasons import Reason
from schemas.admin.verbs import STATEMENT_ISSUE as ACTION
from schemas.admin.verbs import ConsoleWrite
from schemas.verbs.acts import ActRequest
from schemas.verbs.base import VERSION, Rows

DELAY_MS: Final = 15 * 60_000  # after a month's end
INTERVAL_S: Final = 60.0
RETRY_S: Final = 3_600.0  # of months that could not be issued
ORGANIZATIONS_PAGE: Final = 100
SYSTEM: Final = "system"
SCOPE: Final = "money:write"
_PROFILES_SQL: Final = "SELECT id FROM profiles WHERE id > $1 ORDER BY id LIMIT $2"
_BEGUN_SQL: Final = (
    "SELECT seen_ms FROM ledgers WHERE id = $1 AND seen_ms > 0"  # 0 while large books are taken over
)
_NUMBERED_SQL: Final = "SELECT COUNT(*) FROM statements WHERE number LIKE $1"
_DELETE_SQLS: Final = (
    "DELETE FROM statement_lines WHERE statement = $1",
    "DELETE FROM statements WHERE id = $1",
)
_logger = get_logger("ledger.statements")


class By(Struct, frozen=True, kw_only=True):
    """Who asks for an issue: by name, or through a console by a credential, whose keyed hashes are `digests`."""

    actor: str = SYSTEM
    console: ConsoleWrite | None = None
    digests: Sequence[str] = ()

    @property
    def request(self) -> ActRequest:
        """What the audit log keeps of it."""
        key = "" if self.console is None else self.console.idempotency_key
        return ActRequest(VERSION, ACTION, b"", key, actor=self.actor)

    @property
    def form_hash(self) -> str:
        """What tells it from another request under its idempotency key."""
        return "" if self.console is None else hash_of(ACTION, self.console.request_hash)

    @property
    def names(self) -> Wanted:
        """What is loaded to know whether it may be done."""
        names = wanted()
        if self.console is not None:
            names.proof, names.proof_digests = self.console.credential, list(self.digests)
            names.record = ("", self.console.idempotency_key)
        return names


class Issuing:
    """Issues statements for one ledger. `billing` may be replaced while it runs."""

    def __init__(self, writer: Writer, billing: BillingSettings = BILLING) -> None:
        self._writer = writer
        self._store: Store = writer.committer.store
        self.billing = billing
        self._done_ms = 0  # all that ended by then is issued
        self._again = 0.0

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Issues what is due until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.step()
            except StoreError as error:
                _logger.warning("statements have to wait", error=str(error))
            except Exception:
                _logger.exception("statements failed")

    async def step(self) -> None:
        """Issues all that is due, and notes what could not be. Raises StoreError."""
        due_ms = self._running(self._store.now_ms()).start_ms
        if self._done_ms == due_ms or time.monotonic() < self._again:
            return
        last, all_issued = "", True
        while page := await self._store.fetch(_PROFILES_SQL, last, ORGANIZATIONS_PAGE):
            for (organization,) in page:
                all_issued = await self._issue_due(organization) and all_issued
            last = page[-1][0]
        if all_issued:
            self._done_ms = due_ms
        else:
            self._again = time.monotonic() + RETRY_S

    async def issue(self, organization: str, period: str, by: By) -> Rows:
        """Issues one month of an organisation, or answers with it if that was done. Raises StoreError."""
        if problem := request_problem(by.request):
            return Rows(problem=problem)
        await take_over(self._store)  # an errand does so too, but perhaps not yet
        async with self._store.snapshot() as reader:
            month = month_named(period, self.billing.statement_timezone)
            if month is None:
                return Rows(problem="name a month, as in 2026-11")
            known = await making.stored(reader, month.id_of(organization))
            if known is not None and known.status == ISSUED:
                # A console's right, and whether it has asked before, is known within a commit.
                return Rows((shown(known),)) if by.console is None else await self._write(Made(known, ()), by)
            made = await self._first_due(reader, organization)
            if isinstance(made, Rows):
                return made
            problem = self._order_problem(organization, month, made)
        if made is None or problem:
            return Rows(problem=problem, reason=Reason.NOT_ISSUABLE)
        return await self._write(made, by)

    def _running(self, now_ms: int) -> Month:
        """The month that is not due yet."""
        return month_at(now_ms - DELAY_MS, self.billing.statement_timezone)

    def _order_problem(self, organization: str, month: Month, made: Made | None) -> str:
        if month.end_ms > self._running(self._store.now_ms()).start_ms:
            return f"{month.name} can be issued {DELAY_MS // 60_000} minutes after its end"
        if made is not None and made.statement.period < month.name:
            return f"{made.statement.period} is to be issued first"
        if made is None or made.statement.period > month.name:
            return f"there is nothing to issue for {organization} in {month.name}"
        return ""

    async def _issue_due(self, organization: str) -> bool:
        """Issues all due months of one organisation. Whether none is left."""
        while True:
            async with self._store.snapshot() as reader:
                made = await self._first_due(reader, organization)
            if made is None:
                return True
            if isinstance(made, Rows):
                return False
            reply = await self._write(made, By())
            if reply.problem:
                _logger.warning("a statement is not issued", statement=made.statement.id, why=reply.problem)
                return False

    async def _first_due(self, reader: Reader, organization: str) -> Made | Rows | None:
        """The oldest month that is over, not issued, and says something. The answer's problem if nothing can be issued."""
        begun = await reader.fetch(_BEGUN_SQL, LEAST)
        if not begun:
            return Rows(problem=OLDER_RUNS)
        now_ms = self._store.now_ms()
        month = await self._first_month(reader, organization, int(begun[0][0]))
        while month is not None and month.end_ms <= self._running(now_ms).start_ms:
            made = await making.make(reader, organization, month, self.billing, now_ms)
            if made is None:
                break
            if not made.says_nothing:
                return made
            month = after(month)
        else:
            return None
        return missing(f"organisation {organization}")

    async def open_months(self, reader: Reader, organization: str) -> list[Month]:
        """The months of an organisation that are not issued, the one that runs among them, newest first. Raises StoreError."""
        begun = await reader.fetch(_BEGUN_SQL, LEAST)
        month = await self._first_month(reader, organization, int(begun[0][0])) if begun else None
        found: list[Month] = []
        while month is not None and month.start_ms <= self._store.now_ms():
            found.append(month)
            month = after(month)
        return found[::-1]

    async def _first_month(self, reader: Reader, organization: str, begun_ms: int) -> Month | None:
        # Before that time ledgers booked corrections and credits otherwise, so no month of it could be proven.
        zone = self.billing.statement_timezone
        last = await making.last_issued(reader, organization)
        if last is not None:
            ended = month_named(last.period, zone)
            return None if ended is None else after(ended)
        first_ms = await movements.first_ms(reader, organization)
        return None if first_ms is None else month_at(max(first_ms, begun_ms), zone)

    async def _write(self, made: Made, by: By) -> Rows:
        reply: Rows = await self._writer.between(partial(_write, self._store, made, by))
        return reply


async def _write(store: Store, made: Made, by: By) -> Rows:
    """Writes a statement: issued if it is true, else as a draft that says why. One that was issued meanwhile stays."""
    async with store.write() as tx:
        if not await admitted(tx):
            return Rows(problem=OLDER_RUNS)
        book = Book(Catalogue(()), tx.now_ms, Rules())
        await load_act(tx, book, by.names)  # it has the log's head now: others wait
        if refused := _refusal(book, made.statement, by):
            return refused
        known = await making.stored(tx, made.statement.id)
        if known is not None and known.status == ISSUED:
            return Rows(
                (shown(known),), replayed=book.record is not None and is_replay(book.record, by.console)
            )
        if made.statement.problem:
            if known is None or known.problem != made.statement.problem:
                await _put(tx, made.statement, made)
            return Rows(problem=made.statement.problem, reason=Reason.NOT_ISSUABLE)
        statement = structs.replace(
            made.statement,
            status=ISSUED,
            number=await _next_number(tx, made.statement.period[:4]),
            created_ms=tx.now_ms,
        )
        await _put(tx, statement, made)
        _note(book, statement, by)
        book.tell(Told("statement.issued", statement.id, statement.organization, shown(statement)))
        await save(tx, book, None)
    return Rows((shown(statement),))


def _refusal(book: Book, statement: Statement, by: By) -> Rows | None:
    """Why whoever asks may not do this, by a right that lives now; None if he may."""
    if by.console is None:
        return None
    if refused := book.refusal or beyond(book.grant, statement.organization):
        return refused
    record = book.record
    if record is not None and (record.action, record.form_hash) != (ACTION, by.form_hash):
        return Rows(problem=MISMATCH)
    return None


def beyond(grant: Grant, organization: str) -> Rows | None:
    """Why a right does not reach to the issue of an organisation's statements; None if it does."""
    if refused := refusal(grant, (SCOPE,), deployment=False):
        return refused
    return missing("such statement") if grant.organization not in {"", organization} else None


async def _put(tx: Transaction, statement: Statement, made: Made) -> None:
    for sql in _DELETE_SQLS:  # a draft's
        await tx.execute(sql, statement.id)
    await tx.insert(STATEMENTS, [astuple(statement)])
    if made.lines:
        await tx.insert(STATEMENT_LINES, [astuple(line) for line in made.lines])


async def _next_number(tx: Transaction, year: str) -> str:
    (row,) = await tx.fetch(_NUMBERED_SQL, f"{year}-%")
    return f"{year}-{int(row[0]) + 1:06d}"


def _note(book: Book, statement: Statement, by: By) -> None:
    fields = {
        name: value for name, value in asdict(statement).items() if name not in ("id", "seller", "buyer")
    }
    add_entry(
        book,
        action=ACTION,
        target=statement.id,
        request=by.request,
        console=by.console,
        form_hash=by.form_hash,
        changed=({}, {f"statements/{statement.id}": fields}),
        answer=Rows(({"id": statement.id, "number": statement.number},)),
    )
