"""Owns the models that a pool's provider sells by routes that this gateway does not have: known, and never sold."""

from typing import Final

from msgspec import Struct

from schemas.catalogue.row import MODES
from schemas.errors import WireError, invalid

# The path of each mode, in the order of MODES.
_PATHS: Final = dict(
    zip(MODES, ("/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings"), strict=True)
)


class Unrouted(Struct, frozen=True, array_like=True):
    """One such model: the id that callers would write, and the modes that its provider serves it in."""

    id: str
    modes: tuple[str, ...]

    @property
    def message(self) -> str:
        """What callers are told."""
        paths = " and ".join(_PATHS[mode] for mode in self.modes if mode in _PATHS)
        return f"Its provider serves the model `{self.id}` by {paths} only, which this gateway does not have for it."


def not_routed(model: Unrouted) -> WireError:
    """400: the model is there, and not for this route nor any other of this gateway."""
    return invalid(model.message, param="model")
