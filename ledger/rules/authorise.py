"""Owns the answer to an authorise request: a hold that bounds the call, or why there is none."""

import secrets
from decimal import Decimal

import msgspec

from ledger.prices.offers import Offer
from ledger.rules.book import Book
from ledger.rules.rows import Account, Hold, Key, State
from schemas.chat.priced import PROMPTS_MAX
from schemas.money.amounts import NANO_MAX
from schemas.money.pricing import Bound
from schemas.verbs.calls import UNSET_LIMIT_MIN, Authorise, AuthoriseReply, Reason, Refusal
from schemas.verbs.calls import Hold as HoldReply

ACTIVE = "active"
REVOKED = "revoked"
_CHOICES_MAX = 2**20
_decode_providers = msgspec.json.Decoder(tuple[str, ...]).decode


def providers_of(key: Key) -> tuple[str, ...] | None:
    """The providers a key may use; None for all."""
    return _decode_providers(key.providers) if key.providers else None


def authorise(book: Book, request: Authorise, digest: str) -> AuthoriseReply:
    """A hold, the hold there already is for this request id, or a refusal. `digest` is the stored form of the key."""
    key = book.keys_by_digest.get(digest)
    if key is None or key.status != ACTIVE:
        return Refusal(Reason.UNKNOWN_KEY)
    existing = book.holds.get(request.request_id)
    if existing is not None:
        if existing.state != State.OPEN or existing.key_id != key.id or existing.model != request.model:
            return Refusal(Reason.ENDED)
        existing.lease_ms = book.now_ms + book.rules.lease_ms
        book.touch(existing)
        return _reply(book, existing)
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
    bound = book.catalogue.bound(offer.ref, offer.price, model.rate, prompt_max)
    limit, limited = model.max_output, False
    if request.limit is not None:
        limit = min(max(request.limit, 0), model.max_output)
    amount = bound.hold_nano(choices * limit)
    if amount > account.available_nano:
        fitting = _fitting(bound, account, choices, limit)
        least = min(UNSET_LIMIT_MIN, model.max_output)
        if request.limit is not None or fitting < least:
            required = amount if request.limit is not None else bound.hold_nano(choices * least)
            return _insufficient(account, required, fitting)
        limit, limited = fitting, True
        amount = bound.hold_nano(choices * limit)
    at_list = book.catalogue.list_bound(offer.ref, offer.price, prompt_max)
    now = book.now_ms
    hold = Hold(
        request.request_id,
        secrets.token_hex(8),
        key.id,
        key.account_id,
        model.id,
        model.pool,
        model.provider,
        model.upstream,
        offer.ref,
        str(model.rate),
        amount,
        min(at_list.hold_nano(choices * limit), NANO_MAX),
        amount,
        limit,
        limited,
        prompt_max,
        choices,
        1,
        State.OPEN,
        now + book.rules.lease_ms,
        now,
        0,
    )
    book.add_hold(hold)
    return HoldReply(
        hold.request_id,
        hold.token,
        key.id,
        amount,
        hold.list_nano,
        limit,
        limited,
        model.pool,
        model.provider,
        model.upstream,
        offer.price,
        model.rate,
    )


def _fitting(bound: Bound, account: Account, choices: int, limit: int) -> int:
    affordable = bound.affordable_tokens(account.available_nano)
    if affordable is None:
        return limit
    return max(min(affordable // choices, limit), 0)


def _insufficient(account: Account, required_nano: int, fitting: int) -> Refusal:
    return Refusal(
        Reason.INSUFFICIENT, account.posted_nano, account.held_nano, min(required_nano, NANO_MAX), fitting
    )


def _reply(book: Book, hold: Hold) -> HoldReply:
    return HoldReply(
        hold.request_id,
        hold.token,
        hold.key_id,
        hold.amount_nano,
        hold.list_nano,
        hold.token_limit,
        bool(hold.limited),
        hold.pool,
        hold.provider,
        hold.upstream,
        book.catalogue.prices[hold.price_ref],
        Decimal(hold.rate),
    )
