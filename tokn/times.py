"""Owns how commands are told lengths of time and moments: 90d, 24h, 2026-12-31, 2026-12-31T12:00:00Z, never."""

import re
from datetime import UTC, datetime
from typing import Final

import typer

NEVER: Final = "never"
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LENGTH: Final = re.compile(r"(\d{1,9})([smhdw]?)", re.ASCII)


def length_ms(text: str, option: str) -> int:
    """A length of time like 24h, in milliseconds; 0 needs no unit. Raises typer.BadParameter."""
    found = _LENGTH.fullmatch(text)
    if found is None or (not found[2] and int(found[1])):
        raise typer.BadParameter("give a length of time, like 30m, 24h or 90d", param_hint=option)
    return int(found[1]) * _UNITS_S.get(found[2], 0) * 1_000


def utc(text: str) -> datetime:
    """A day's start or a time as ISO 8601 has it, in UTC where it names no zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def ending(text: str, option: str) -> tuple[int, int]:
    """When something ends: a day's start or a time in unix milliseconds, or seconds from now. Both are 0 for never.

    What is asked for again must be the same request, so the ledger makes a moment of a length. Raises typer.BadParameter.
    """
    if text == NEVER:
        return 0, 0
    if _LENGTH.fullmatch(text):
        if length_s := length_ms(text, option) // 1_000:
            return 0, length_s
        raise typer.BadParameter("give a length of time above 0", param_hint=option)
    try:
        return int(utc(text).timestamp() * 1_000), 0
    except ValueError:
        why = "give a date (2026-12-31), a time (2026-12-31T12:00:00Z), a length (90d) or never"
        raise typer.BadParameter(why, param_hint=option) from None
