"""Owns how figures are written on pages: money from whole nano-dollars, counts, shares, times. No floats, no locale."""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from schemas.money.amounts import NANO_PER_USD, nano_to_usd

NOTHING: Final = "\N{EN DASH}"  # what a figure is that nobody knows
_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def usd(amount_nano: int | None) -> str:
    """Dollars with every digit, at least two of them cents: `$1,234.50`, `-$0.0000125`."""
    if amount_nano is None:
        return NOTHING
    whole, _, cents = nano_to_usd(abs(amount_nano)).partition(".")
    return f"{'-' if amount_nano < 0 else ''}${int(whole):,}.{cents}"


def usd_about(amount_nano: int | None) -> str:
    """Dollars to the cent, half to even; below one dollar to four digits after the point. For tiles and axes, never for bills."""
    if amount_nano is None:
        return NOTHING
    digits = 2 if abs(amount_nano) >= NANO_PER_USD or amount_nano == 0 else 4
    unit = 10 ** (9 - digits)
    parts, rest = divmod(abs(amount_nano), unit)
    if 2 * rest > unit or (2 * rest == unit and parts % 2):
        parts += 1
    if parts == 0 and amount_nano:
        return f"{'-' if amount_nano < 0 else ''}<$0.0001"
    whole, cents = divmod(parts, 10**digits)
    return f"{'-' if amount_nano < 0 else ''}${whole:,}.{cents:0{digits}d}"


def count(number: int | None) -> str:
    """A whole number with commas between thousands."""
    return NOTHING if number is None else f"{number:,}"


def share(part: int, whole: int) -> str:
    """Percent with one digit, cut and never rounded up: `99.9 %` is not yet all. Nothing of nothing is unknown."""
    if not whole:
        return NOTHING
    tenths = 1000 * part // whole
    return f"{tenths // 10}.{tenths % 10} %"


def milliseconds(number: int | None) -> str:
    """A length of time: `840 ms`, `1.24 s`, `2 min 05 s`."""
    if number is None:
        return NOTHING
    if number < 1_000:
        return f"{number} ms"
    if number < 60_000:
        return f"{number // 1000}.{number % 1000 // 10:02d} s"
    return f"{number // 60_000} min {number % 60_000 // 1000:02d} s"


def seconds(number: int | None) -> str:
    """A length of time in its largest two units: `3 h 5 min`, `42 s`."""
    if number is None:
        return NOTHING
    found = []
    left = abs(number)
    for size, unit in _STEPS:
        amount, left = divmod(left, size)
        if amount:
            found.append(f"{amount} {unit}")
    return ("-" if number < 0 else "") + " ".join(found[:2]) if found else "0 s"


def moment(unix_s: int | None, zone: str = "UTC") -> Markup:
    """A moment in a zone, as a `time` element that a machine reads in UTC. Raises ZoneInfoNotFoundError."""
    if unix_s is None:
        return escape(NOTHING)
    at = datetime.fromtimestamp(unix_s, UTC)
    shown = at.astimezone(ZoneInfo(zone)) if zone != "UTC" else at
    return Markup('<time datetime="{}">{} {}</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), shown.strftime("%Y-%m-%d %H:%M:%S"), shown.tzname()
    )


def day(unix_s: int | None) -> str:
    """The day of a moment, UTC."""
    return NOTHING if unix_s is None else datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d")


def byte_count(number: int | None) -> str:
    """Bytes in the unit that is read best: `512 B`, `1.5 KiB`, `12.0 MiB`; cut, not rounded."""
    if number is None:
        return NOTHING
    tenths, unit = 10 * number, "B"
    for larger in ("KiB", "MiB", "GiB"):
        if tenths < 10_240:
            break
        tenths, unit = tenths // 1024, larger
    return f"{number} B" if unit == "B" else f"{tenths // 10:,}.{tenths % 10} {unit}"


FILTERS: Final = {
    "usd": usd,
    "usd_about": usd_about,
    "count": count,
    "milliseconds": milliseconds,
    "seconds": seconds,
    "moment": moment,
    "day": day,
    "byte_count": byte_count,
}
