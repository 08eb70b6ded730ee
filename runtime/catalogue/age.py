"""Owns how old the built-in rows are: the day that they are of, and from when on that is worth a warning."""

from datetime import date
from pathlib import Path
from typing import Final

from runtime.catalogue.models import REMEDY
from runtime.toml import SettingsError

FILE: Final = Path(__file__).with_name("as_of.txt")
SOURCES: Final = ("genai-prices", "litellm", "pi-ai")  # what the rows are made from
AGE_WARN_DAYS: Final = 45  # vendors change prices within weeks


def as_of(path: Path = FILE) -> date:
    """The day that the sources of the rows were read on. Raises SettingsError if the file is damaged."""
    try:
        return date.fromisoformat(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read: {str(error)[:200]}: {REMEDY}") from None


def age_days(today: date) -> int:
    """How many days old the rows are; 0 on a machine whose clock is behind them. Raises SettingsError as `as_of`."""
    return max((today - as_of()).days, 0)


def is_old(days: int) -> bool:
    """Whether prices may well have changed since."""
    return days >= AGE_WARN_DAYS
