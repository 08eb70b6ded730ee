"""Owns the routes of models: what can be called now, and each model's entry."""

from typing import Any
from urllib.parse import parse_qs

from msgspec import structs

from edge.admission.catalogue import alias_entry, describe
from edge.admission.listing import PAGE_MAX
from edge.http.exchange import Exchange
from edge.routes.endpoint import ID_CHARS_MAX, Backing, Row, encode, no_route
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.errors import invalid, model_denied, model_not_found, saturated


async def models(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/models: what some worker can serve now; a page of it with `limit`, `after_id` or `before_id`; 304 for what is known."""
    names = await backing.admission.caller(exchange).models()
    asked = parse_qs(exchange.scope["query_string"].decode("latin-1"))
    limit, after_id = _limit(asked.get("limit", [])), asked.get("after_id", [""])[0]
    before_id = asked.get("before_id", [""])[0]
    listed = await backing.listing.current()
    if names is not None:
        listed = await backing.listing.of(names)
    tag = (b"etag", listed.tag.encode())
    if _is_known(exchange, listed.tag):
        await exchange.answer(304, b"", tag)
    elif limit is None and not (after_id or before_id):
        await exchange.answer_in_parts(listed.parts, tag)
    else:
        await exchange.answer(200, listed.page(limit or PAGE_MAX, after_id, before_id), tag)


def _limit(values: list[str]) -> int | None:
    if not values:
        return None
    text = values[0]
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= PAGE_MAX):
        message = f"'limit' must be an integer from 1 to {PAGE_MAX}."
        raise RequestError(invalid(message, param="limit", code="invalid_value"))
    return int(text)


def _is_known(exchange: Exchange, tag: str) -> bool:
    """Whether the caller has the list already. The tag covers the whole list: any page of it is the same with it."""
    held = (exchange.header(b"if-none-match") or b"").decode("latin-1")
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in held.split(","))


async def model(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/models/{id}: the entry that the list shows."""
    names = await backing.admission.caller(exchange).models()
    name = str(exchange.scope["path_params"]["id"])
    if not name:
        raise RequestError(no_route(ROUTES, exchange.method, exchange.path))
    found = await backing.catalogue.find(name) if len(name) <= ID_CHARS_MAX else None
    shelf = backing.admission.shelf

    def described(model: Model) -> dict[str, Any]:
        return describe(model, backing.roster, shelf.today())

    if not backing.listing.shows(names, name) and (found is not None or backing.catalogue.stands_for(name)):
        raise RequestError(model_denied(name))
    if backing.catalogue.stands_for(name):
        entry = alias_entry(backing.catalogue, shelf.serves, described, name)
        if entry is None:
            raise RequestError(
                saturated(f"No worker can serve a model of the alias `{name}` now. Retry with backoff.")
            )
        await exchange.answer(200, encode(entry))
        return
    if found is None:
        elsewhere = backing.catalogue.unrouted(name)
        gone = model_not_found(name[:ID_CHARS_MAX])
        raise RequestError(gone if elsewhere is None else structs.replace(gone, message=elsewhere.message))
    shelf.open(found)
    if not backing.roster.serves(found.pool, found.id):
        raise RequestError(saturated(f"No worker can serve the model `{name}` now. Retry with backoff."))
    await exchange.answer(200, encode(described(found)))


ROUTES = (
    Row(path="/v1/models", name="models", handler=models),
    Row(path="/v1/models/{id:path}", name="model", handler=model),
)
