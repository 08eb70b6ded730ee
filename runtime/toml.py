"""Owns reading tables of a TOML file: each key is taken once, with its type; what nobody took is unknown."""

import tomllib
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

DIGITS_MAX = 30  # of a decimal: far beyond any price, and small enough to stay exact in every sum
_KINDS = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
    Decimal: "a number",
}


class SettingsError(Exception):
    """A configuration that cannot be used: one line that says which file, table and key, and what to do."""


class Table:
    """One table being read. `place` is how people find it: `[pools.openai]`."""

    def __init__(self, file: str, place: str, values: dict[str, Any]) -> None:
        self.file = file
        self.place = place
        self._values = dict(values)

    def problem(self, key: str, why: str) -> SettingsError:
        """An error about one key."""
        where = f"[{self.place}] {key}" if self.place else key
        return SettingsError(f"{self.file}: {where}: {why}")

    def _take(self, key: str, kind: type) -> Any:
        value = self._values.pop(key, None)
        if value is not None and (type(value) is not kind):
            raise self.problem(key, f"must be {_KINDS[kind]}")
        return value

    def has(self, key: str) -> bool:
        """Whether a key is there and not taken yet."""
        return key in self._values

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        value = self._take(key, str)
        return default if value is None else str(value)

    def needed(self, key: str) -> str:
        """A text that must be there."""
        if not (value := self.text(key)):
            raise self.problem(key, "is needed")
        return value

    def boolean(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._take(key, bool)
        return default if value is None else bool(value)

    def integer(self, key: str, default: int | None, *, least: int = 1, most: int = 2**53) -> int | None:
        """A whole number in a range."""
        value = self._take(key, int)
        if value is None:
            return default
        if not least <= value <= most:
            raise self.problem(key, f"must be from {least} to {most}")
        return int(value)

    def decimal(
        self, key: str, default: Decimal | None = None, *, least: int = 0, most: int = 10**9
    ) -> Decimal | None:
        """An exact decimal in a range, never negative."""
        value = self._values.pop(key, None)
        if value is None:
            return default
        if type(value) is int:
            value = Decimal(value)
        if type(value) is not Decimal:
            raise self.problem(key, "must be a number")
        if not value.is_finite() or value < least or value > most:
            raise self.problem(key, f"must be a number from {least} to {most}")
        exponent = value.as_tuple().exponent
        if (
            len(value.as_tuple().digits) > DIGITS_MAX
            or not isinstance(exponent, int)
            or abs(exponent) > DIGITS_MAX
        ):
            raise self.problem(key, f"has more than {DIGITS_MAX} digits")
        return value

    def day(self, key: str) -> date | None:
        """A date."""
        value = self._values.pop(key, None)
        if value is not None and (not isinstance(value, date) or isinstance(value, datetime)):
            raise self.problem(key, "must be a date, as in 2026-01-31")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of texts."""
        value = self._take(key, list)
        if value is None:
            return None
        if not all(type(one) is str for one in value):
            raise self.problem(key, "must be a list of texts")
        return tuple(value)

    def table(self, key: str) -> "Table":
        """A table inside this one; an empty one if it is not there."""
        return Table(self.file, self._inside(key), self._take(key, dict) or {})

    def tables(self, key: str) -> list["Table"]:
        """A list of tables (`[[...]]`); empty if it is not there."""
        values = self._take(key, list) or []
        if not all(type(one) is dict for one in values):
            raise self.problem(key, "must be a list of tables")
        return [Table(self.file, f"[{self._inside(key)}]", one) for one in values]

    def lists(self, key: str) -> bool:
        """Whether a key that stays to be taken has a list."""
        return isinstance(self._values.get(key), list)

    def peek(self, key: str) -> str:
        """A text that stays to be taken; empty if there is none."""
        value = self._values.get(key)
        return value if isinstance(value, str) else ""

    def take_any(self, key: str) -> Any:
        """Whatever is there; its reader checks it."""
        return self._values.pop(key, None)

    def keys(self) -> list[str]:
        """What is left."""
        return list(self._values)

    def done(self) -> None:
        """Refuses what nobody took."""
        for key, value in self._values.items():
            if type(value) is dict or (type(value) is list and value and type(value[0]) is dict):
                raise SettingsError(f"{self.file}: [{self._inside(key)}]: unknown table")
            raise self.problem(key, "unknown key")

    def _inside(self, key: str) -> str:
        return f"{self.place.strip('[]')}.{key}" if self.place else key


def read(path: Path) -> Table:
    """The root table of a file, decimals exact. Raises SettingsError."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return Table(str(path), "", tomllib.loads(text, parse_float=Decimal))
    except (tomllib.TOMLDecodeError, InvalidOperation, RecursionError) as error:
        raise SettingsError(f"{path}: is not TOML: {str(error) or 'too deeply nested'}") from None
