"""Owns what must not be old when a release is made: the day of the sources, and what was read by hand."""

from collections.abc import Iterator
from datetime import date
from typing import Final

from runtime.catalogue.age import AGE_WARN_DAYS
from tools.catalogue.inputs import Lock
from tools.catalogue.pins import Pins

PIN_MAX_DAYS: Final = 180


def stale(lock: Lock, pins: Pins, today: date) -> Iterator[str]:
    """A line for each that is too old on a day."""
    days = (today - lock.as_of).days
    if days >= AGE_WARN_DAYS:
        yield f"the catalogue is {days} days old, of {AGE_WARN_DAYS - 1} at most: name newer packages in the lock, then make catalogue-update"
    for name, read in sorted(pins.reads.items()):
        if (today - read).days > PIN_MAX_DAYS:
            yield f"pins.toml: {name}: was read on {read}, more than {PIN_MAX_DAYS} days ago: read its source again"
