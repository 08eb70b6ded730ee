"""Owns the routes of models: what can be called now, and each model's entry."""

from edge.admission.catalogue import alias_entry, describe, live_models
from edge.http.exchange import Exchange
from edge.routes.endpoint import ID_CHARS_MAX, Backing, Row, encode
from schemas.chat.priced import RequestError
from schemas.errors import model_not_found, saturated, unknown_path


async def models(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/models: what some worker can serve now."""
    await backing.admission.caller(exchange).verify()
    listed = {"object": "list", "data": live_models(backing.catalogue, backing.roster)}
    await exchange.answer(200, encode(listed))


async def model(backing: Backing, exchange: Exchange) -> None:
    """GET /v1/models/{id}: the entry that the list shows."""
    await backing.admission.caller(exchange).verify()
    name = str(exchange.scope["path_params"]["id"])
    if not name:
        raise RequestError(unknown_path(exchange.method, exchange.path))
    found = await backing.catalogue.find(name) if len(name) <= ID_CHARS_MAX else None
    if backing.catalogue.stands_for(name):
        entry = alias_entry(backing.catalogue, backing.roster, name)
        if entry is None:
            raise RequestError(
                saturated(f"No worker can serve a model of the alias `{name}` now. Retry with backoff.")
            )
        await exchange.answer(200, encode(entry))
        return
    if found is None:
        raise RequestError(model_not_found(name[:ID_CHARS_MAX]))
    if backing.roster.gone(found.pool, found.id):
        raise RequestError(model_not_found(name, found.successor))
    if not backing.roster.serves(found.pool, found.id):
        raise RequestError(saturated(f"No worker can serve the model `{name}` now. Retry with backoff."))
    await exchange.answer(200, encode(describe(found)))


ROUTES = (
    Row(path="/v1/models", name="models", handler=models),
    Row(path="/v1/models/{id:path}", name="model", handler=model),
)
