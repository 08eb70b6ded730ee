"""Owns lengths of time that people choose from: how long a key lasts, how long an old secret still opens it."""

from typing import Final

from console.pages.visit import FormError

HOUR_S: Final = 3_600
DAY_S: Final = 86_400
LENGTHS: Final = (
    ("", "Never"),
    ("1d", "In a day"),
    ("7d", "In 7 days"),
    ("30d", "In 30 days"),
    ("90d", "In 90 days"),
    ("365d", "In a year"),
)
OVERLAPS: Final = (
    ("0h", "At once"),
    ("1h", "After an hour"),
    ("24h", "After a day"),
    ("168h", "After 7 days"),
    ("720h", "After 30 days"),
)
_UNITS: Final = {"h": HOUR_S, "d": DAY_S}


def ends_in_s(text: str, field: str) -> int:
    """The seconds of a choice, 0 for never. Raises FormError."""
    if not text:
        return 0
    if text not in dict((*LENGTHS, *OVERLAPS)):
        raise FormError(field, "Choose one of these.")
    return int(text[:-1]) * _UNITS[text[-1]]
