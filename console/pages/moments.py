"""Owns days as people choose them: from a text of the address to a moment, UTC."""

from datetime import UTC, datetime, timedelta

from console.pages.visit import FormError


def day_s(text: str, *, after: int = 0, field: str = "") -> int:
    """When a day begins, or the one so many days after it; 0 for no day. Raises FormError."""
    if not text:
        return 0
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=after)
        return max(int(day.timestamp()), 0)
    except (ValueError, OverflowError):
        raise FormError(field, "Write a day as 2026-12-31.") from None
