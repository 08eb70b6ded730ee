"""Owns the answer to an authorise request: a hold that bounds the call, or why there is none."""

import secrets
from collections.abc import Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct, structs

from ledger.prices.offers import Offer
from ledger.rules import limits
from ledger.rules.book import Book
from ledger.rules.limits import caps
from ledger.rules.limits.caps import Purse
from ledger.rules.limits.rates import room
from ledger.rules.rows import Candidate, Hold, HoldState, Key
from ledger.rules.standing import names_of
from ledger.rules.standing import refusal as refusal_of
from ledger.rules.surprises import uplifts_of
from schemas.catalogue.aliases import CANDIDATES_MAX
from schemas.catalogue.allowed import allows
from schemas.chat.priced import PROMPTS_MAX
from schemas.money.amounts import NANO_MAX
from schemas.money.pricing import Bound
from schemas.verbs.calls import UNSET_LIMIT_MIN, Authorise, AuthoriseReply, Further, Granted, Reason, Refusal
from schemas.verbs.calls import Hold as HoldReply

_CHOICES_MAX = 2**20
# A call that sets no limit may hold one part in so many of what is available: others of its key run beside it, or may.
UNSET_LIMIT_PARTS = 8
UNSET_LIMIT_FLOOR = (
    4_096  # tokens for each choice that such a call is granted beyond that part, if they are affordable
)
_UPLIFTS_MAX = 4  # that a request may ask for: a service tier, a region, a speed
_encode = msgspec.json.Encoder().encode


def authorise(book: Book, request: Authorise, digest: str) -> AuthoriseReply:
    """A hold, the hold there already is for this request id, or a refusal. `digest` is the stored form of the key."""
    key = book.key_of(digest)
    if key is None:
        return Refusal(Reason.UNKNOWN_KEY)
    reply: AuthoriseReply
    refused = refusal_of(book, key, digest)
    existing = book.holds.get(request.request_id)
    if refused is not None:
        reply = refused
    else:
        reply = _again(book, existing, request, key) if existing is not None else _anew(book, request, key)
    if isinstance(reply, Refusal) and reply.reason != Reason.UNKNOWN_KEY:
        return structs.replace(reply, key_id=key.id)
    return reply


def _anew(book: Book, request: Authorise, key: Key) -> AuthoriseReply:
    wanted = (
        Further(request.model, request.prompt_max, request.limit, request.uplifts),
        *request.others[: CANDIDATES_MAX - 1],
    )
    able: list[tuple[Further, Offer]] = []
    refused: Refusal | None = None
    for one in wanted:
        offer = book.catalogue.offer(one.model, book.now_ms)
        which = one.model if request.others else ""
        if offer is None:
            refused = refused or Refusal(Reason.UNKNOWN_MODEL, model=which)
        elif key.models and not allows(names_of(key.models), offer.model.id):
            refused = refused or Refusal(Reason.MODEL_DENIED, model=which)
        elif key.providers and offer.model.provider not in (names_of(key.providers) or ()):
            refused = refused or Refusal(Reason.PROVIDER_DENIED, model=which)
        else:
            able.append((one, offer))
    if not able:
        return refused or Refusal(Reason.UNKNOWN_MODEL)
    if book.backlog:
        return Refusal(Reason.BACKLOG)
    refused = limits.before(book, key)
    if refused is not None:
        return refused
    return _grant(book, request, key, able)


def _again(book: Book, existing: Hold, request: Authorise, key: Key) -> AuthoriseReply:
    """The hold that a request id has already, for whoever asks the same once more."""
    models = [one.model for one in book.all_terms(existing)]
    asked = [request.model, *(one.model for one in request.others)]
    if (
        existing.state != HoldState.OPEN
        or existing.key_id != key.id
        or any(model not in asked for model in models)
    ):
        return Refusal(Reason.ENDED)
    existing.lease_ms = book.now_ms + book.rules.lease_ms
    book.holds.touch(existing)
    return _reply(book, existing, request)


class _Priced(Struct, frozen=True):
    """What a call can cost with one model. Amounts are nano-dollars, the limit is per choice."""

    offer: Offer
    amount_nano: int
    list_nano: int
    limit: int
    limited: bool
    prompt_max: int
    uplifts: str  # JSON: the names that it reckons with


def _choices(request: Authorise) -> int:
    return min(max(request.choices, 1), _CHOICES_MAX)


def _price(book: Book, request: Authorise, purse: Purse, one: Further, offer: Offer) -> _Priced | Refusal:
    """The bound of a call with one model; a refusal if what is available does not cover it."""
    model, choices = offer.model, _choices(request)
    prompts = min(max(request.prompts, 1), PROMPTS_MAX)
    prompt_max = min(max(one.prompt_max, 0), model.context * prompts)
    uplifts = book.catalogue.reach(offer, one.uplifts[:_UPLIFTS_MAX])
    bound = book.catalogue.bound(offer.ref, offer.price, model.rate, prompt_max, uplifts)
    available = purse.available_nano
    if one.limit is None:
        limit, least = model.max_output, min(UNSET_LIMIT_MIN, model.max_output)
    else:
        limit = least = min(max(one.limit, 0), model.max_output)
    amount = bound.hold_nano(choices * limit)
    if one.limit is None and amount > available // UNSET_LIMIT_PARTS:
        limit = _unset_limit(bound, available, choices, model.max_output)
        amount = bound.hold_nano(choices * limit)
    if amount > available or limit < least:
        required = bound.hold_nano(choices * least)
        fitting = _fitting(bound, available, choices, model.max_output)
        return _short(book, purse, required, fitting, model.id if request.others else "")
    at_list = book.catalogue.list_bound(offer.ref, offer.price, prompt_max, uplifts)
    return _Priced(
        offer=offer,
        amount_nano=amount,
        list_nano=min(at_list.hold_nano(choices * limit), NANO_MAX),
        limit=limit,
        limited=one.limit is None and limit < model.max_output,
        prompt_max=prompt_max,
        uplifts=_encode(uplifts).decode() if uplifts else "[]",
    )


def _grant(book: Book, request: Authorise, key: Key, able: Sequence[tuple[Further, Offer]]) -> AuthoriseReply:
    purse = caps.purse(book, key, book.accounts[key.account_id])
    priced: list[_Priced] = []
    short: list[Refusal] = []
    for one, offer in able:
        found = _price(book, request, purse, one, offer)
        if isinstance(found, Refusal):
            short.append(found)
        else:
            priced.append(found)
    if short:  # every candidate may come to serve, so all of them must be covered
        return max(short, key=lambda refusal: refusal.required_nano)
    first = priced[0]
    model = first.offer.model
    amount = max(one.amount_nano for one in priced)
    now = book.now_ms
    hold = Hold(
        request_id=request.request_id,
        token=secrets.token_hex(8),
        key_id=key.id,
        account_id=key.account_id,
        model=model.id,
        pool=model.pool,
        provider=model.provider,
        upstream=model.upstream,
        price_ref=first.offer.ref,
        rate=str(model.rate),
        amount_nano=amount,
        list_nano=first.list_nano,
        held_nano=amount,
        token_limit=first.limit,
        limited=first.limited,
        prompt_max=first.prompt_max,
        choices=_choices(request),
        attempt=1,
        state=HoldState.OPEN,
        lease_ms=now + book.rules.lease_ms,
        created_ms=now,
        closed_ms=0,
        uplifts=first.uplifts,
        asked=_encode(request.asked).decode() if request.asked else "",
        candidate=1 if len(priced) > 1 else 0,
    )
    refused = limits.refusal(book, request, hold)
    if refused is not None:
        return refused
    book.add_hold(hold)
    caps.take(book, purse, hold)
    if hold.candidate:
        for place, priced_one in enumerate(priced, 1):
            book.candidates.add(_candidate(hold, place, priced_one))
    limits.take(book, hold)
    return _reply(book, hold, request)


def _candidate(hold: Hold, place: int, priced: _Priced) -> Candidate:
    model = priced.offer.model
    return Candidate(
        request_id=hold.request_id,
        place=place,
        model=model.id,
        pool=model.pool,
        provider=model.provider,
        upstream=model.upstream,
        price_ref=priced.offer.ref,
        rate=str(model.rate),
        list_nano=priced.list_nano,
        token_limit=priced.limit,
        limited=priced.limited,
        prompt_max=priced.prompt_max,
        uplifts=priced.uplifts,
    )


def _unset_limit(bound: Bound, available_nano: int, choices: int, max_output: int) -> int:
    """The limit of a call that sets none, and whose part of the money does not cover the model's own.

    It is what the part covers, or the floor, as far as all of the money covers that.
    """
    affordable = _fitting(bound, available_nano, choices, max_output)
    if not bound.per_output_token:
        return affordable  # a lower one would hold no less
    shared = _fitting(bound, available_nano // UNSET_LIMIT_PARTS, choices, max_output)
    return min(max(shared, UNSET_LIMIT_FLOOR), affordable)


def _fitting(bound: Bound, nano: int, choices: int, limit: int) -> int:
    """The largest limit that an amount covers, at most `limit`; 0 if none fits."""
    affordable = bound.affordable_tokens(nano)
    if affordable is None:
        return limit
    return max(min(affordable // choices, limit), 0)


def _short(book: Book, purse: Purse, required_nano: int, fitting: int, model: str) -> Refusal:
    if purse.room is not None:
        caps.reach(book, purse.room.period)
    else:
        book.exhaust(purse.account)
    return Refusal(
        Reason.INSUFFICIENT if purse.room is None else Reason.CAPPED,
        purse.account.posted_nano,
        purse.account.held_nano,
        min(required_nano, NANO_MAX),
        fitting,
        model,
        cap=None if purse.room is None else caps.figures(purse.room),
    )


def _reply(book: Book, hold: Hold, request: Authorise) -> HoldReply:
    prices = book.catalogue.prices
    candidates: tuple[Granted, ...] = ()
    if request.others:
        candidates = tuple(
            Granted(
                place=place if hold.candidate else 0,
                model=one.model,
                list_nano=one.list_nano,
                limit=one.token_limit,
                limited=one.limited,
                pool=one.pool,
                provider=one.provider,
                upstream=one.upstream,
                price=prices[one.price_ref],
                rate=Decimal(one.rate),
                uplifts=uplifts_of(one),
            )
            for place, one in enumerate(book.all_terms(hold), 1)
        )
    return HoldReply(
        request_id=hold.request_id,
        token=hold.token,
        key_id=hold.key_id,
        amount_nano=hold.amount_nano,
        list_nano=hold.list_nano,
        limit=hold.token_limit,
        limited=hold.limited,
        pool=hold.pool,
        provider=hold.provider,
        upstream=hold.upstream,
        price=prices[hold.price_ref],
        rate=Decimal(hold.rate),
        candidates=candidates,
        scope=book.scope(hold.key_id),
        uplifts=uplifts_of(hold),
        room=room(book, book.keys[hold.key_id]),
    )
