"""Owns the words for what goes wrong inside the gateway itself, as callers read them."""

from runtime.catalogue.presets import presets
from schemas.catalogue.builtin import SANDBOX_MODEL
from schemas.catalogue.model import Model
from schemas.errors import INVALID_REQUEST, WireError, saturated, unavailable, upstream_failed

BUS_AWAY = unavailable("The gateway's bus does not answer. Retry with backoff.")
LEDGER_AWAY = unavailable("The gateway's ledger does not answer. Retry with backoff.")
WORKER_FAILED = upstream_failed("The gateway's worker failed. Retry with backoff.")
WORKERS_FAILED = upstream_failed("The gateway's workers failed. Retry with backoff.")
PART_LOST = upstream_failed("Part of the answer was lost inside the gateway. Retry with backoff.")
NO_MEMORY = upstream_failed("The answer does not fit into the gateway's memory now. Retry with backoff.")
TOO_MUCH = upstream_failed("The gateway's worker sent more than it was allowed to. Retry with backoff.")


def no_room(model: str) -> WireError:
    """429: nobody takes a call of this model now."""
    return saturated(f"No worker has room for the model `{model}` now. Retry with backoff.")


def pool_unset(model: Model) -> WireError:
    """404: this gateway would serve the model if its pool were configured. Waiting does not help, so it says what does."""
    message = (
        f"The model `{model.id}` is not served here: its pool `{model.pool}` is not configured. "
        f"{_remedy(model)} The model `{SANDBOX_MODEL}` needs no credentials."
    )
    return WireError(404, INVALID_REQUEST, message, "model_not_found", "model", should_retry=False)


def _remedy(model: Model) -> str:
    preset = presets().get(model.provider)
    if preset is None or not preset.signs:
        return f"Add [pools.{model.pool}] to the gateway's configuration and restart it."
    places = (preset.place_env(place) for place in preset.places)
    needed = [_one_of(names) for names in (preset.signs, *places) if names]
    return (
        f"Set {' and '.join(needed)} for the gateway and restart it; "
        f"where it has a tokn.toml, add [pools.{model.pool}] there."
    )


def _one_of(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
