"""Owns the checks before a call, in their order: the key's form, the key, the body, the model, the provider, the balance."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import Final, TypeVar

from msgspec import structs

from edge.admission.candidates import Asked, Candidate, Choice
from edge.admission.capped import capped
from edge.admission.catalogue import Catalogue
from edge.admission.desk import Desk
from edge.admission.fares import Fares
from edge.admission.full import Full, at_limit
from edge.admission.pages import PageCounter
from edge.budget import Budget
from edge.calls.call import Call
from edge.calls.candidates import Offer
from edge.calls.relay import Relay
from edge.calls.roster import Roster
from edge.http.exchange import Exchange
from edge.http.heading import job_headers
from edge.http.intake import KEY_HEADERS, Body, key_digest, read_body, take
from edge.http.link import Link
from edge.limits import Limits
from runtime.catalogue.shelf import Shelf, utc_today
from runtime.ledger import LedgerClient
from schemas.asked import Ask, Bound, Fields
from schemas.bus import frames
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.dialects.base import Dialect
from schemas.errors import (
    WireError,
    bad_key,
    expired_key,
    insufficient_balance,
    key_paused,
    model_denied,
    model_not_found,
    organization_suspended,
    provider_denied,
    unavailable,
    upstream_failed,
)
from schemas.money.amounts import nano_to_usd
from schemas.responses.references import verified
from schemas.verbs.base import VERSION
from schemas.verbs.calls import AUTHORISE, Authorise, Further, Granted, Hold, Reason, Refusal
from schemas.verbs.keys import KEY, KeyQuery, KeyReply

Result = TypeVar("Result")

_PENNILESS: Final = "Insufficient balance: the key's balance covers no call, so its request was not read. Add credit to the key."


_BARRED: Final[Mapping[str, Callable[[], WireError]]] = {
    Reason.PAUSED: key_paused,
    Reason.SUSPENDED: organization_suspended,
}
_OF_MODEL: Final[Mapping[str, Callable[[str], WireError]]] = {
    Reason.UNKNOWN_MODEL: model_not_found,
    Reason.MODEL_DENIED: model_denied,
    Reason.PROVIDER_DENIED: provider_denied,
}


class Caller:
    """One caller's key during one request: known or not, it is asked for once."""

    def __init__(self, ledger: LedgerClient, digest: bytes, fares: Fares, connection: Link) -> None:
        self._ledger = ledger
        self.digest = digest
        self._fares = fares
        self._connection = connection
        self._known: KeyReply | None = None

    def lives(self) -> None:
        """Notes that a ledger has said so of the key: its connection is no stranger's any more."""
        self._connection.known()

    async def verify(self) -> None:
        """Raises RequestError 401 unless the key lives. One that is paused may still read."""
        await self._key()

    async def models(self) -> tuple[str, ...] | None:
        """The models that the key may use, as its list has them; None for all. Raises RequestError 401."""
        return (await self._key()).models

    async def verify_large(self) -> None:
        """The same before a large body is read, and RequestError 402, 403 for a key that could make no call."""
        known = await self._key()
        if known.barred in _BARRED:
            raise RequestError(_BARRED[known.barred]())
        available_nano = known.available_nano
        if available_nano is not None and available_nano < self._fares.least_nano():
            raise RequestError(insufficient_balance(_PENNILESS))

    async def scope(self) -> str:
        """What stands for the key, as its hold will have it. Raises RequestError 401."""
        return (await self._key()).scope

    async def may_use(self, provider: str) -> bool:
        """Whether the key may use a provider. Raises RequestError 401."""
        allowed = (await self._key()).providers
        return allowed is None or provider in allowed

    @property
    def key_id(self) -> str:
        """The key's id, if a ledger has been asked for it; else empty."""
        return "" if self._known is None else self._known.key_id

    async def _key(self) -> KeyReply:
        if self._known is None:
            reply = await self._ledger.ask(KEY, KeyQuery(VERSION, self.digest))
            if not reply.active:
                raise RequestError(expired_key(reply.expired_ms) if reply.expired_ms else bad_key())
            self._known = reply
            self.lives()
        return self._known


class Admission:
    """Turns a request into a call that has a hold, or into the error that says why not."""

    def __init__(
        self,
        *,
        ledger: LedgerClient,
        catalogue: Catalogue,
        roster: Roster,
        relay: Relay,
        pages: PageCounter,
        desk: Desk,
        budget: Budget,
        limits: Limits,
        keeps_items: bool = True,
        today: Callable[[], date] = utc_today,
        usage_cost: bool = False,
    ) -> None:
        self._ledger = ledger
        self._keeps_items = keeps_items
        self._relay = relay
        self.shelf = Shelf(catalogue, roster, today)
        self._fares = Fares(catalogue, roster, self.shelf)
        self._desk = desk
        self._choice = Choice(catalogue, self.shelf, relay, pages)
        self._budget = budget
        self._limits = limits
        self._slow = asyncio.Semaphore(limits.slow_asks)
        self._full = Full()
        self._usage_cost = usage_cost  # usage objects say what calls are billed, whether callers ask or not

    def caller(self, exchange: Exchange, key_headers: tuple[bytes, ...] = KEY_HEADERS) -> Caller:
        """The caller, by the form of its key alone. Raises RequestError 401."""
        return Caller(self._ledger, key_digest(exchange, key_headers), self._fares, exchange.connection)

    async def body(self, exchange: Exchange, caller: Caller) -> Body:
        """A request's body. Its bytes are taken from the budget: whoever asks gives them back. Raises RequestError."""
        return await read_body(exchange, self._limits, self._budget, caller, self._slow)

    async def read(self, body: Body, work: Callable[[], Result]) -> Result:
        """What `work` makes of a body, beside the loop where that takes long. Raises what it raises, RequestError 503."""
        return await self._desk.read(body, work)

    async def admit(self, exchange: Exchange, dialect: Dialect) -> tuple[Call, int]:
        """The call, offered to its pool, and the bytes of the budget that it keeps. Raises RequestError, CallerGoneError."""
        caller = self.caller(exchange, dialect.key_headers)
        body = await self.body(exchange, caller)
        taken = body.size
        try:
            return await self._admit(exchange, dialect, caller, body), taken
        except RequestError as refused:
            self._budget.give_back(taken)
            if refused.error.status in (400, 404):
                await caller.verify()
            exchange.key_id = exchange.key_id or caller.key_id
            if exchange.key_id and refused.error.status != 401:  # one that has expired has an id as well
                caller.lives()
            raise
        except BaseException:
            self._budget.give_back(taken)
            raise

    async def _choose(
        self, dialect: Dialect, caller: Caller, sent: Body
    ) -> tuple[Ask, bytes, tuple[Candidate, ...]]:
        """What is asked for, the body that goes on, and who may serve it. What the caller sent is kept no longer."""
        fields, ask, body = await self._desk.read(sent, partial(_read, dialect, sent.data))
        sent.data = b""
        take(self._budget, len(body))  # beside what its caller sent, which the fields are made of
        try:
            if ask.references:
                scope = await caller.scope() if self._keeps_items else ""
                ask = structs.replace(ask, references=verified(scope, ask.references))
            read = partial(self._desk.read, sent)
            return ask, body, await self._choice.of(Asked(dialect, ask, fields, body, caller.verify, read))
        finally:
            self._budget.give_back(len(body))

    async def _admit(self, exchange: Exchange, dialect: Dialect, caller: Caller, sent: Body) -> Call:
        ask, body, candidates = await self._choose(dialect, caller, sent)
        # Before the hold: nobody would release one that was granted to a call which is then refused.
        headers = job_headers(exchange, dialect.job_headers)
        message = _authorise(exchange.request_id, caller.digest, ask, candidates)
        self._full.check(exchange, caller.digest)
        reply = await self._ledger.ask(AUTHORISE, message)
        exchange.key_id, exchange.room = reply.key_id, reply.room
        by_id = {candidate.model.id: candidate for candidate in candidates}
        if isinstance(reply, Refusal):
            self._full.learn(caller.digest, reply)
            if reply.cap is not None:
                raise capped(reply, reply.cap, ask)
            raise RequestError(_refusal(reply, ask, by_id.get(reply.model, candidates[0]).model))
        caller.lives()
        granted: tuple[Hold | Granted, ...] = reply.candidates or (reply,)
        offers: list[Offer] = []
        for terms in granted:
            candidate = by_id[terms.model] if isinstance(terms, Granted) else candidates[0]
            job = _job(
                dialect.name,
                ask,
                candidate,
                terms,
                request_id=exchange.request_id,
                scope=reply.scope or reply.key_id,  # a ledger of the last version sends none
                body=body,
                headers=headers,
                last=terms is granted[-1],
                call_s=self._limits.call_s,
                keeps=ask.keeps and self._keeps_items and bool(reply.scope),
                include_cost=ask.include_cost or self._usage_cost,
                hold_nano=reply.amount_nano,
            )
            offers.append(Offer(terms.pool, job, candidate.notice, _dropped(ask, candidate.bound)))
        call = self._relay.start(reply, *offers)
        call.tells_model = bool(message.asked)
        return call


def _read(dialect: Dialect, body: bytes) -> tuple[Fields, Ask, bytes]:
    """What a body has and asks for, and the one that goes on. Raises RequestError 400."""
    fields = dialect.decode(body)
    ask = dialect.read(fields)
    return fields, ask, dialect.encode(fields)


def _dropped(ask: Ask, bound: Bound) -> tuple[str, ...]:
    """What of a body one of its models is not sent."""
    if not bound.kept:
        return ask.dropped + bound.dropped
    return (*(name for name in ask.dropped if name not in bound.kept), *bound.dropped)


def _authorise(request_id: str, digest: bytes, ask: Ask, candidates: tuple[Candidate, ...]) -> Authorise:
    first, *others = candidates
    return Authorise(
        v=VERSION,
        request_id=request_id,
        digest=digest,
        model=first.model.id,
        prompt_max=first.bound.prompt_max,
        choices=ask.choices,
        limit=first.bound.limit,
        prompts=ask.inputs,
        uplifts=first.bound.uplifts,
        others=tuple(
            Further(one.model.id, one.bound.prompt_max, one.bound.limit, one.bound.uplifts) for one in others
        ),
        asked=() if ask.candidates == (first.model.id,) else ask.candidates,
    )


def _kept(ask: Ask, model: Model) -> int | None:
    """The limit that the upstream keeps to if the body goes on as the caller wrote it; None if no limit is certain.

    What an absent one means in the caller's dialect the upstream must be told: in its own it may mean no limit.
    """
    if ask.limit_set:
        return ask.limit
    if ask.limit is not None or model.capabilities.needs_limit:
        return None
    return model.max_output


def _job(
    dialect: str,
    ask: Ask,
    candidate: Candidate,
    terms: Hold | Granted,
    *,
    request_id: str,
    scope: str,
    body: bytes,
    headers: tuple[tuple[str, str], ...],
    last: bool,
    call_s: float,
    keeps: bool,
    include_cost: bool,
    hold_nano: int,
) -> Job:
    """The job of one candidate, with what its hold grants it."""
    model, bound = candidate.model, candidate.bound
    kept = _kept(ask, model)
    # What the row was priced by may be more than the provider takes by now.
    limit = min(terms.limit, candidate.list_limit or terms.limit)
    return Job(
        v=frames.VERSION,
        request_id=request_id,
        attempt=1,
        dialect=dialect,
        model=model.id,
        upstream=terms.upstream,
        stream=ask.stream,
        include_usage=ask.include_usage,
        include_cost=include_cost,
        limit=limit,
        write_limit=terms.limited or kept is None or kept > limit,
        prompt_max=bound.prompt_max,
        text_bytes=bound.text_bytes,
        choices=ask.choices,
        hold_list_nano=terms.list_nano,
        deadline_s=call_s,
        published_ms=time.time_ns() // 1_000_000,
        body=body,
        body_bytes=len(body),
        price=terms.price,
        rate=terms.rate,
        scope=scope,
        headers=headers,
        media_tokens=bound.media_tokens,
        candidate=terms.place if isinstance(terms, Granted) else 0,
        last=last,
        keeps=keeps,
        references=ask.references,
        hold_nano=hold_nano,
        uplifts=terms.uplifts,
    )


def _refusal(refusal: Refusal, ask: Ask, model: Model) -> WireError:
    if refusal.reason in _BARRED:
        return _BARRED[refusal.reason]()
    if refusal.reason in _OF_MODEL:
        return _OF_MODEL[refusal.reason](model.id)
    match refusal.reason:
        case Reason.UNKNOWN_KEY:
            return bad_key()
        case Reason.EXPIRED:
            return expired_key(refusal.expired_ms)
        case Reason.INSUFFICIENT:
            return insufficient_balance(_shortage(refusal, ask, model))
        case Reason.LIMITED if refusal.limited is not None:
            return at_limit(refusal.limited, refusal.key_id)
        case Reason.BACKLOG:
            return unavailable(
                "The gateway is behind with its books and takes no new calls now. Retry with backoff."
            )
        case Reason.ENDED:
            return upstream_failed("This call has already ended.", retry_after_s=None)
        case _:
            return unavailable("The books refuse this call for a reason that this edge does not know yet.")


def _shortage(refusal: Refusal, ask: Ask, model: Model) -> str:
    """What a 402 says: balance, held, required, and the limit that would fit."""
    text = (
        f"Insufficient balance: this call to `{model.id}` requires up to {nano_to_usd(refusal.required_nano)} USD; "
        f"the key's balance is {nano_to_usd(refusal.posted_nano)} USD, of which "
        f"{nano_to_usd(refusal.held_nano)} USD is held by calls in flight."
    )
    if refusal.fitting_limit > 0 and ask.limit is not None:
        fitting = f"With a limit of {refusal.fitting_limit} output tokens it would fit"
        return f"{text} {fitting}: set {ask.limit_name} to at most that."
    return f"{text} Add credit to the key, or send a shorter prompt."
