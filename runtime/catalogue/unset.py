"""Owns what is said of a model whose pool is not configured: which variables would make it."""

from runtime.catalogue.presets import presets
from schemas.catalogue.builtin import SANDBOX_MODEL
from schemas.catalogue.model import Model
from schemas.errors import INVALID_REQUEST, WireError


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
