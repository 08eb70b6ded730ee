"""Owns why a model can or cannot be called now: one sentence a reason, in the order in which an edge would decide."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from difflib import SequenceMatcher
from typing import Any, Final

from ledger.verbs.pools import accounts_of
from ledger.verbs.view import View
from schemas.catalogue.model import Capabilities, Model
from schemas.catalogue.shown import pricing
from schemas.chat.priced import RequestError
from schemas.errors import model_not_found
from schemas.money.pricing import Price, price_on
from schemas.verbs.models import State

NEAR_MAX: Final = 5  # ids that are named for one that is not known
NEAR_SHARE: Final = 0.6  # of likeness
NAME_CHARS_MAX: Final = 256  # no id has more
COMPARED_AT_ONCE: Final = 16  # ids, between two turns of the loop
_FOUND: Final = {
    "agree": "several sources agree on its price",
    "disagree": "sources differ on its price, and the higher is charged class by class",
    "one source": "one source has its price",
    "pinned": "its price was set by hand",
    "kept": "no source has it any more, and its price is the last that was known",
    "built in": "its price is the contract's",
    "configuration": "its price is the configuration's",
}


Credit = Callable[[str], Awaitable[dict[str, int | None]]]  # what the accounts of a pool have left


async def explained(view: View, name: str, credit: Credit) -> dict[str, Any]:
    """One model, alias or unknown id: `callable`, `state`, `reasons`, and what is known of it beside them."""
    if len(name) > NAME_CHARS_MAX:
        name = f"{name[:NAME_CHARS_MAX]}…"
    alias = next((one for one in view.sold.aliases if one.id == name), None)
    if alias is None:
        return await _one(view, name, credit)
    candidates = [await _one(view, one, credit) for one in alias.models]
    first = next((one["id"] for one in candidates if one["callable"]), None)
    reasons = [f"`{name}` is an alias: `{'`, then `'.join(alias.models)}` are tried in this order."]
    reasons += [f"`{one['id']}`: {sentence}" for one in candidates for sentence in one["reasons"]]
    return {
        "id": name,
        "callable": first is not None,
        "state": None,
        "reasons": reasons,
        "serves": first,
        "candidates": candidates,
    }


async def _one(view: View, name: str, credit: Credit) -> dict[str, Any]:
    model = view.sold.models.get(name)
    if model is None:
        return await _unsold(view, name)
    beats = list(view.picture.beats.get(model.pool, ()))
    accounts = accounts_of(beats, await credit(model.pool))
    row = view.row(model)
    why = list(_why(view, model, accounts) if row["callable"] else _why_not(view, model, accounts))
    if not row["callable"] and (names := view.elsewhere(model)):
        why.append(f"Other pools serve it: call {_names(names)}.")
    able = model.capabilities
    return {
        **row,
        "reasons": why,
        "accounts": accounts,
        "prices_to_come": [
            {"effective": price.effective.isoformat(), **pricing(price, model.rate)}
            for price in _to_come(view, model)
        ],
        "limit_field": able.limit_field,
        "efforts": list(able.efforts),
        "thinking": able.thinking or None,
    }


async def _unsold(view: View, name: str) -> dict[str, Any]:
    elsewhere = next((one for one in view.sold.unrouted if one.id == name), None)
    pools = view.picture.unpriced.get(name, [])
    similar: list[str] = []
    if elsewhere is not None:
        state, reasons = State.NO_ROUTE.value, [elsewhere.message]
    elif pools:
        state = State.UNPRICED.value
        where = f"An account of the pool {_names(pools)} lists `{name}`, and no price is known for it."
        reasons = [where, 'Add [[models]] for it, with its "input" and "output" price, to sell it.']
    else:
        state, reasons = "unknown", [model_not_found(name).message]
        similar = await near(view, name)
        if similar:
            reasons.append(f"Did you mean {_names(similar)}?")
    return {"id": name, "callable": False, "state": state, "reasons": reasons, "similar": similar}


async def near(view: View, name: str) -> list[str]:
    """The known ids that are most like a name, the nearest first."""
    likeness = SequenceMatcher(autojunk=False)
    likeness.set_seq2(name.casefold())
    found: list[tuple[float, str]] = []
    known = [*view.sold.models, *(alias.id for alias in view.sold.aliases)]
    for number, other in enumerate(known):
        if number % COMPARED_AT_ONCE == 0:
            await asyncio.sleep(0)
        likeness.set_seq1(other.casefold())
        if likeness.real_quick_ratio() < NEAR_SHARE or likeness.quick_ratio() < NEAR_SHARE:
            continue
        if (share := likeness.ratio()) >= NEAR_SHARE:
            found.append((-share, other))
    return [other for _, other in sorted(found)[:NEAR_MAX]]


def _why_not(view: View, model: Model, accounts: list[dict[str, Any]]) -> Iterator[str]:
    """First what an edge would say, then what is behind it."""
    picture, pool = view.picture, model.pool
    missing = picture.missing(pool, model.id)
    try:
        view.shelf.open(model)
    except RequestError as refused:
        yield refused.error.message
        if picture.gone(pool, model.id):
            yield f"Why: {missing or 'its provider says that it is gone'}."
            yield from map(_list_of, accounts)
        return
    if price_on(model.prices, view.day) is None:
        yield model_not_found(model.id).message
        yield "None of its prices is in force yet."
    beats = picture.beats.get(pool, ())
    if not beats:
        yield f"No worker of the pool `{pool}` runs."
    elif any(beat.brief for beat in beats):
        yield f"The workers of the pool `{pool}` have not said yet what they serve: ask again in half a minute."
    elif missing:
        yield f"No account of the pool `{pool}` can serve it now."
        yield from (_account(one, model) for one in accounts)
    elif not picture.serves(pool, model.id):
        yield f"No worker of the pool `{pool}` serves it: they run with other settings than the ledger."


def _why(view: View, model: Model, accounts: list[dict[str, Any]]) -> Iterator[str]:
    beats = view.picture.beats[model.pool]
    asked = "" if model.upstream == model.id else f" as `{model.upstream}`"
    yield f"The pool `{model.pool}` of {model.provider} serves it{asked}."
    if all(beat.inflight >= beat.capacity or not beat.accepting for beat in beats):
        yield "No worker has room now: a call waits for a moment, then it is a 429."
    yield from (_account(one, model) for one in accounts)
    stands = view.stands(model)
    if view.picture.unlisted(model.pool, model.id):
        yield "No account's list has it: it is served because a row of the configuration says so."
    if stands.shutdown is not None or stands.deprecated:
        yield _ending(view, model)
    yield from _costs(view, model)
    able = model.capabilities
    yield f"It answers POST {', '.join(_routes(able))}."
    if able.embeddings is not None and not able.chat:
        yield f"An input has at most {model.context} tokens."
        return
    yield f"A prompt and its answer have at most {model.context} tokens, the answer at most {view.max_output(model)}."
    yield from _profile(able)


def _routes(able: Capabilities) -> Iterator[str]:
    """The paths by which a model can be called: whoever has a conversation has it in every dialect."""
    if able.chat:
        yield from ("/v1/chat/completions", "/v1/messages")
    if able.chat or able.responses:
        yield "/v1/responses"
    if able.chat or able.completions:
        yield "/v1/completions"
    if able.embeddings is not None:
        yield "/v1/embeddings"


def _ending(view: View, model: Model) -> str:
    stands = view.stands(model)
    successor = view.shelf.successor(model)
    instead = f" Use `{successor}` instead." if successor else ""
    if stands.shutdown is None:
        return f"Its provider calls it deprecated.{instead}"
    if stands.ends is None:
        return f"Its provider's own date for it is {stands.shutdown}, which ends nothing here.{instead}"
    return f"It ends on {stands.ends}.{instead}"


def _costs(view: View, model: Model) -> Iterator[str]:
    price = price_on(model.prices, view.day)
    if price is None:
        return
    yield f"It costs {_amounts(price, model)}."
    yield from (
        f"From {later.effective} on it costs {_amounts(later, model)}." for later in _to_come(view, model)
    )
    row = view.row(model)
    as_of = f", as of {row['as_of']}" if row["as_of"] else ""
    yield f"{_FOUND[row['sources']].capitalize()}{as_of}."


def _amounts(price: Price, model: Model) -> str:
    shown = pricing(price, model.rate)
    tiers = [
        f"{listed['input']} for input and {listed['output']} for output at list, billed "
        f"{billed['input']} and {billed['output']}"
        + (f", above {listed['above_prompt_tokens']} prompt tokens" if listed["above_prompt_tokens"] else "")
        for listed, billed in zip(shown["list"], shown["billed"], strict=True)
    ]
    return f"{'; '.join(tiers)} ({shown['unit']})"


def _to_come(view: View, model: Model) -> list[Price]:
    return sorted(
        (price for price in model.prices if price.effective > view.day), key=lambda price: price.effective
    )


def _profile(able: Capabilities) -> Iterator[str]:
    yield f"Its output limit is sent as `{able.limit_field}`."
    if able.efforts:
        put = f", put as {able.thinking}" if able.thinking else ""
        yield f"It reasons, with reasoning_effort {', '.join(able.efforts)}{put}."
    if able.guessed:
        yield "It is newer than the table of capabilities, or nobody's: another model's stand for it."


def _account(row: dict[str, Any], model: Model) -> str:
    """What one account has to say of a model."""
    name, state = row["id"], row["state"]
    if state != "ok":
        until = f" until {_at(row['until'])}" if row.get("until") else ""
        return f"The account `{name}` is {state}{until}{_because(row.get('reason'))}."
    for one in row["models"]:
        if one["id"] == model.upstream:
            whose = "" if one["for_all"] else "for one key "
            return f"The account `{name}` has it {whose}as {one['state']} until {_at(one['until'])}{_because(one['reason'])}."
    return f"The account `{name}` is ok. {_list_of(row)}"


def _list_of(row: dict[str, Any]) -> str:
    if row.get("listed_at"):
        return (
            f"The list of `{row['id']}` was read at {_at(row['listed_at'])} and has {row['listed']} models."
        )
    return f"The list of `{row['id']}` is not known{_because(row.get('list_error'))}: it hides nothing."


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def _at(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
