"""Owns payments of one ledger: top-ups are made at Stripe, and what Stripe tells of them is taken in, once it is its word.

A top-up is in the books before Stripe is asked, and what Stripe made is noted before anybody is shown it. So an event
finds what it is about, and a ledger that dies in between is asked again and goes on. Nothing is given for an event but
what the books asked for: this session, this amount in this currency, by the account and in the mode of this ledger.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import msgspec
from msgspec import structs

from ledger.acts.topups import TOPUP_CREATE, TOPUP_OPENED, TOPUP_SAID
from ledger.commits.commands import Command
from ledger.commits.fetching import select
from ledger.commits.writer import Writer
from ledger.payments.provider import ForgedError, OtherAskedError, Provider, ProviderAwayError
from ledger.payments.told import Event, Fact, decode_event, fact_of
from ledger.rules.money.topups import topup_row
from ledger.rules.rows import row_of
from ledger.rules.topup_rows import Said, Topup, TopupStatus
from ledger.store.base import StoreDown, StoreError
from ledger.telemetry import Telemetry
from runtime.bounded import Warnings
from runtime.log import get_logger
from schemas.admin.reasons import Reason
from schemas.admin.verbs import ConsoleWrite
from schemas.verbs.acts import ActRequest
from schemas.verbs.base import VERSION, Rows
from schemas.verbs.topups import CENT_NANO, STRIPE_S, StripeEvent, TopupCreate

COMMIT_S: Final = 8.0  # beyond it the writer has dropped a command
ASKING_MAX: Final = 16  # requests at Stripe: each is one of the reads that a ledger has at once
ACTOR: Final = "stripe"
ID_CHARS_MAX: Final = 200
_BY_HAND_SQL: Final = (
    "SELECT id FROM credits WHERE reference <> '' AND reference = $1 AND kind = 'deposit' LIMIT 1"
)
_T = TypeVar("_T")
_decode_form = msgspec.msgpack.Decoder(TopupCreate).decode
_logger = get_logger("ledger.payments")
_failed = Warnings(_logger, "an event of Stripe could not be taken")  # anybody can send some


class Payments:
    """Payments, by the writer of a ledger and one account at Stripe."""

    def __init__(self, writer: Writer, provider: Provider, telemetry: Telemetry) -> None:
        self._writer = writer
        self._store = writer.committer.store
        self._provider = provider
        self._telemetry = telemetry
        self._asking = 0

    async def close(self) -> None:
        """Leaves Stripe."""
        await self._provider.close()

    def return_to(self, console_url: str) -> None:
        """Has payers of top-ups that are made from now on come back to a console elsewhere."""
        self._provider.console_url = console_url

    async def create(self, request: ConsoleWrite | ActRequest) -> Rows:
        """Makes a top-up, and answers with the address at which it is paid. Raises StoreError."""
        console = request if isinstance(request, ConsoleWrite) else None
        told = request
        if isinstance(told, ConsoleWrite):
            told = ActRequest(told.v, told.name, told.form, told.idempotency_key)
        try:
            form = _decode_form(request.form)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Rows(problem=f"the request for {TOPUP_CREATE.name} cannot be read: {error}"[:300])
        made = await self._commit(TOPUP_CREATE.command(form, told, console))
        if made.problem:
            return made
        topup = await self._find("id", str(made.rows[0]["id"]))
        if topup is None:
            raise StoreDown("a top-up that was made is not there")
        if topup.session:
            return structs.replace(made, rows=(topup_row(topup),))
        try:
            opened = await self._asked(partial(self._provider.open, topup))
        except ProviderAwayError as error:
            which = "another" if isinstance(error, OtherAskedError) else "the same"
            why = f"{error}; ask again with {which} idempotency key"
            return Rows(problem=why, reason=Reason.PAYMENTS_AWAY)
        noted = await self._commit(TOPUP_OPENED.command(opened, _by_stripe(TOPUP_OPENED.name)))
        return structs.replace(noted, replayed=made.replayed)

    async def take(self, sent: StripeEvent) -> Rows:
        """Takes in an event. The answer's row says what it was for; a problem is why Stripe has to send it again.

        Raises StoreError. Whatever else goes wrong is logged and answered: a console that waits for an answer has a place
        fewer for whoever comes next.
        """
        try:
            return await self._taken(sent)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, silence would be worse
            _failed.say(type(error).__name__, exc_info=error)
            return Rows(problem="the ledger failed at it: see its log", reason=Reason.PAYMENTS_AWAY)

    async def _taken(self, sent: StripeEvent) -> Rows:
        try:
            self._provider.verify(sent.body, sent.signature)
            event = decode_event(sent.body)
            ours = event.account is None and event.livemode == self._provider.live
            fact = fact_of(event) if ours else None
        except ForgedError as error:
            return Rows(problem=str(error), reason=Reason.INVALID_SIGNATURE)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _logger.error("an event of Stripe cannot be read", error=str(error)[:300])  # noqa: TRY400  the reason is all there is
            return Rows(problem="it cannot be read: see the ledger's log")
        if fact is None:
            return _nothing("it is about nothing here")
        try:
            topup = await self._about(fact)
        except ProviderAwayError as error:
            return Rows(problem=str(error), reason=Reason.PAYMENTS_AWAY)
        if topup is None and fact.topup and fact.status == TopupStatus.PAID:
            return await self._unknown(event, fact)
        if topup is None or topup.live != event.livemode:
            return _nothing("it is about nothing here")
        paid = await self._find("payment", fact.payment)
        if why := _misfit(topup, fact) or _paid_twice(topup, paid):
            _logger.error("an event does not fit its top-up", stripe_event=event.id, topup=topup.id, why=why)
            return _nothing(why)
        return await self._said(event, fact, topup)

    async def _unknown(self, event: Event, fact: Fact) -> Rows:
        """Somebody has paid, and the books have no top-up for it, as after a backup was put back: that is told until somebody books it by hand."""
        if await self._store.fetch(_BY_HAND_SQL, fact.payment):
            return _nothing("it was booked by hand")
        self._telemetry.unknown_payments.inc()
        told = {"session": fact.session, "payment": fact.payment, "topup": fact.topup[:ID_CHARS_MAX]}
        _logger.error("what was paid at Stripe is not in the books", stripe_event=event.id, **told)
        return Rows(problem="the books do not have this session", reason=Reason.RESOURCE_MISSING)

    async def _said(self, event: Event, fact: Fact, topup: Topup) -> Rows:
        claim = fact.claim
        said = Said(
            topup=topup.id,
            organization=topup.organization,
            payment=fact.payment,
            status=fact.status,
            refunded_cents=fact.refunded_cents,
            claim=None if claim is None else structs.replace(claim, topup=topup.id),
            reason=f"{event.type} {event.id}"[:ID_CHARS_MAX],
        )
        answer = await self._commit(TOPUP_SAID.command(said, _by_stripe(TOPUP_SAID.name)))
        if answer.problem:
            _logger.error(
                "an event was not booked", stripe_event=event.id, topup=topup.id, why=answer.problem
            )
        return answer

    async def _about(self, fact: Fact) -> Topup | None:
        """The top-up that an event is about; what tells of a payment may come before its session. Raises ProviderAwayError."""
        if fact.session:
            return await self._find("session", fact.session)
        if (known := await self._find("payment", fact.payment)) is not None:
            return known
        payment = await self._asked(partial(self._provider.payment, fact.payment))
        topup = None if payment is None else await self._find("id", payment.topup)
        if payment is None or topup is None or not topup.session or topup.payment:
            return None
        asked = (topup.amount_nano, topup.currency, topup.live)
        return topup if (payment.cents * CENT_NANO, payment.currency, payment.live) == asked else None

    async def _asked(self, asking: Callable[[], Awaitable[_T]]) -> _T:
        """What Stripe answers. Raises ProviderAwayError, also where too much is asked at once, or no answer comes."""
        if self._asking >= ASKING_MAX:
            raise ProviderAwayError("too much is asked of Stripe at once")
        self._asking += 1
        try:
            async with asyncio.timeout(STRIPE_S):
                return await asking()
        except TimeoutError:
            raise ProviderAwayError("Stripe does not answer") from None
        finally:
            self._asking -= 1

    async def _find(self, column: str, value: str) -> Topup | None:
        if not value or len(value) > ID_CHARS_MAX or "\x00" in value:
            return None
        rows = await self._store.fetch(f"{select(Topup)}{column} = $1", value)
        return row_of(Topup, rows[0]) if rows else None

    async def _commit(self, command: Command) -> Rows:
        """An act's answer. Raises StoreDown if there is none."""
        done: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._writer.submit(command, lambda answer: None if done.done() else done.set_result(answer))
        try:
            async with asyncio.timeout(COMMIT_S):
                return await done
        except TimeoutError:
            raise StoreDown("the writer does not come to it") from None


def _by_stripe(name: str) -> ActRequest:
    return ActRequest(VERSION, name, b"", actor=ACTOR)


def _misfit(topup: Topup, fact: Fact) -> str:
    """Why an event cannot be of a top-up; empty if it can."""
    if fact.currency != topup.currency:
        return f"it is in {fact.currency[:8]}, not in {topup.currency}"
    if fact.cents is not None and fact.cents * CENT_NANO != topup.amount_nano:
        return "it is of another amount"
    if topup.payment and fact.payment and fact.payment != topup.payment:
        return "it is of another payment"
    return ""


def _paid_twice(topup: Topup, paid: Topup | None) -> str:
    return "" if paid is None or paid.id == topup.id else f"its payment is of {paid.id}"


def _nothing(why: str) -> Rows:
    return Rows(({"id": None, "why": why},))
