"""Owns what rules about models ask of a catalogue, and of the workers that serve it: an edge and a ledger have both."""

from collections.abc import Sequence
from typing import Protocol

from schemas.bus.frames import ModelFact
from schemas.catalogue.model import Model


class Rows(Protocol):
    """The models of a catalogue. `generation` is how often they have changed."""

    generation: int

    def known(self, name: str) -> Model | None:
        """A model's row, if there is one."""

    def models(self) -> Sequence[Model]:
        """Every model, by id."""


class Workers(Protocol):
    """What live workers say. `generation` is how often what can be served may have changed."""

    generation: int

    def serves(self, pool: str, model: str) -> bool:
        """Whether some worker of a pool says that it can serve a model now."""

    def gone(self, pool: str, model: str) -> bool:
        """Whether a provider has said that a model no longer exists, and nobody serves it all the same."""

    def fact(self, pool: str, upstream: str) -> ModelFact | None:
        """What the lists of a pool's accounts say of an upstream model beyond its row, if anything."""

    def unset(self, pool: str) -> bool:
        """Whether a pool is nobody's: not configured, and no worker speaks of it."""
