"""Owns where a model stands with its provider on a day: what its row and the lists of those who serve it say together."""

from datetime import date

from msgspec import Struct

from schemas.bus.frames import ModelFact
from schemas.catalogue.model import Lifecycle, Model


class Standing(Struct, frozen=True):
    """Where a model stands. `shutdown` is the day that its provider names, `ends` the one that ends it here."""

    lifecycle: Lifecycle
    shutdown: date | None
    ends: date | None
    retired: bool  # it is not served here any more
    deprecated: bool  # whoever serves it here says that it ends, or is about to


def standing(model: Model, fact: ModelFact | None, day: date) -> Standing:
    """Where a model stands on a day.

    A row's date ends a model at its provider's own address alone; elsewhere only the lists of those who serve it do,
    which `fact` sums up. Nothing ends a row of the operator's own.
    """
    said = fact.shutdown if fact is not None else None
    shutdown = _earlier(model.shutdown_date, said)
    ends = None if model.pinned else _earlier(model.shutdown_date if model.dated else None, said)
    history = fact is not None and fact.retired and not model.pinned
    retired = history or (ends is not None and ends <= day)
    told = fact is not None and fact.deprecated
    return Standing(
        lifecycle=_lifecycle(model, shutdown, day, told=told, retired=retired),
        shutdown=shutdown,
        ends=ends,
        retired=retired,
        deprecated=not retired and (ends is not None or told),
    )


def _lifecycle(model: Model, shutdown: date | None, day: date, *, told: bool, retired: bool) -> Lifecycle:
    if retired:
        return Lifecycle.RETIRED
    if shutdown is None:
        return Lifecycle.DEPRECATED if told and model.lifecycle is Lifecycle.ACTIVE else model.lifecycle
    if shutdown <= day:
        return Lifecycle.RETIRED
    return model.lifecycle if model.pinned else Lifecycle.DEPRECATED


def _earlier(one: date | None, other: date | None) -> date | None:
    return min((day for day in (one, other) if day is not None), default=None)
