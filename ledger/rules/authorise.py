"""Owns the answer to an authorise request: a hold that bounds the call, or why there is none."""

import secrets
from decimal import Decimal

import msgspec

from ledger.prices.offers import Offer
from ledger.rules import limits
from ledger.rules.book import Book
from ledger.rules.rows import Account, Hold, HoldState, Key
from schemas.chat.priced import PROMPTS_MAX
from schemas.money.amounts import NANO_MAX
from schemas.money.pricing import Bound, Price
from schemas.verbs.calls import UNSET_LIMIT_MIN, Authorise, AuthoriseReply, Reason, Refusal
from schemas.verbs.calls import Hold as HoldReply

ACTIVE = "active"
REVOKED = "revoked"
_CHOICES_MAX = 2**20
# A call that sets no limit may hold one part in so many of what is available: others of its key run beside it, or may.
UNSET_LIMIT_PARTS = 8
UNSET_LIMIT_FLOOR = (
    4_096  # tokens for each choice that such a call is granted beyond that part, if they are affordable
)
_UPLIFTS_MAX = 4  # that a request may ask for: a service tier, a region, a speed
_encode = msgspec.json.Encoder().encode
_decode_providers = msgspec.json.Decoder(tuple[str, ...]).decode


def providers_of(key: Key) -> tuple[str, ...] | None:
    """The providers a key may use; None for all."""
    return _decode_providers(key.providers) if key.providers else None


def authorise(book: Book, request: Authorise, digest: str) -> AuthoriseReply:
    """A hold, the hold there already is for this request id, or a refusal. `digest` is the stored form of the key."""
    key = book.keys.find(digest)
    if key is None or key.status != ACTIVE:
        return Refusal(Reason.UNKNOWN_KEY)
    existing = book.holds.get(request.request_id)
    if existing is not None:
        if existing.state != HoldState.OPEN or existing.key_id != key.id or existing.model != request.model:
            return Refusal(Reason.ENDED)
        existing.lease_ms = book.now_ms + book.rules.lease_ms
        book.holds.touch(existing)
        return _reply(existing, book.catalogue.prices[existing.price_ref], Decimal(existing.rate))
    offer = book.catalogue.offer(request.model, book.now_ms)
    if offer is None:
        return Refusal(Reason.UNKNOWN_MODEL)
    if key.providers and offer.model.provider not in _decode_providers(key.providers):
        return Refusal(Reason.PROVIDER_DENIED)
    if book.backlog:
        return Refusal(Reason.BACKLOG)
    return _grant(book, request, key, offer)


def _grant(book: Book, request: Authorise, key: Key, offer: Offer) -> AuthoriseReply:
    model = offer.model
    account = book.accounts[key.account_id]
    prompts = min(max(request.prompts, 1), PROMPTS_MAX)
    prompt_max = min(max(request.prompt_max, 0), model.context * prompts)
    choices = min(max(request.choices, 1), _CHOICES_MAX)
    uplifts = book.catalogue.reach(offer, request.uplifts[:_UPLIFTS_MAX])
    bound = book.catalogue.bound(offer.ref, offer.price, model.rate, prompt_max, uplifts)
    available = account.available_nano
    if request.limit is None:
        limit, least = model.max_output, min(UNSET_LIMIT_MIN, model.max_output)
    else:
        limit = least = min(max(request.limit, 0), model.max_output)
    amount = bound.hold_nano(choices * limit)
    if request.limit is None and amount > available // UNSET_LIMIT_PARTS:
        limit = _unset_limit(bound, available, choices, model.max_output)
        amount = bound.hold_nano(choices * limit)
    if amount > available or limit < least:
        required = bound.hold_nano(choices * least)
        return _insufficient(account, required, _fitting(bound, available, choices, model.max_output))
    at_list = book.catalogue.list_bound(offer.ref, offer.price, prompt_max, uplifts)
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
        price_ref=offer.ref,
        rate=str(model.rate),
        amount_nano=amount,
        list_nano=min(at_list.hold_nano(choices * limit), NANO_MAX),
        held_nano=amount,
        token_limit=limit,
        limited=request.limit is None and limit < model.max_output,
        prompt_max=prompt_max,
        choices=choices,
        attempt=1,
        state=HoldState.OPEN,
        lease_ms=now + book.rules.lease_ms,
        created_ms=now,
        closed_ms=0,
        uplifts=_encode(uplifts).decode() if uplifts else "[]",
    )
    refused = limits.refusal(book, request, hold)
    if refused is not None:
        return refused
    book.add_hold(hold)
    limits.take(book, hold)
    return _reply(hold, offer.price, model.rate)


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


def _insufficient(account: Account, required_nano: int, fitting: int) -> Refusal:
    return Refusal(
        Reason.INSUFFICIENT, account.posted_nano, account.held_nano, min(required_nano, NANO_MAX), fitting
    )


def _reply(hold: Hold, price: Price, rate: Decimal) -> HoldReply:
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
        price=price,
        rate=rate,
    )
