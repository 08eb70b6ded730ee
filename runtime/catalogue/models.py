"""Owns the built-in rows: those of one preset at a time, read from `models.json` when they are first asked for."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from runtime.toml import SettingsError
from schemas.catalogue.row import Row

FILE: Final = Path(__file__).with_name("models.json")
_REMEDY: Final = "install tokn again, or run make catalogue"
_decode: Final = msgspec.json.Decoder(Row).decode


@cache
def rows(preset: str) -> Mapping[str, Row]:
    """The rows of a preset by id, none for one that the file does not have. Raises SettingsError if it is damaged."""
    return read_rows(FILE, preset)


def read_rows(path: Path, preset: str) -> dict[str, Row]:
    """The same of any file: one row a line, those of a preset together. Raises SettingsError: one line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}: {_REMEDY}") from None
    if not data.endswith(b"\n"):
        raise SettingsError(f"{path}: is cut short: {_REMEDY}")
    start = b'{"preset":"%s",' % preset.encode()
    begin = 0 if data.startswith(start) else data.find(b"\n" + start) + 1
    if not begin and not data.startswith(start):
        return {}
    last = max(data.rfind(b"\n" + start) + 1, begin)
    end = data.find(b"\n", last)
    lines = data[begin : end if end >= 0 else len(data)].splitlines()
    found = {}
    for number, text in enumerate(lines, data.count(b"\n", 0, begin) + 1):
        try:
            row = _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SettingsError(f"{path}: line {number}: {str(error)[:200]}: {_REMEDY}") from None
        found[row.id] = row
    return found
