"""Owns the built-in rows: those of one preset at a time, read from `models.json` when they are first asked for."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from runtime.toml import SettingsError
from schemas.catalogue.row import Row

FILE: Final = Path(__file__).with_name("models.json")
_REMEDY: Final = "install tokn again, or run make catalogue"
_IDS: Final = re.compile(rb'^\{"preset":"[^"]*","id":"([^"\\]*)"', re.MULTILINE)
_decode: Final = msgspec.json.Decoder(Row).decode


@cache
def rows(preset: str) -> Mapping[str, Row]:
    """The rows of a preset by id, none for one that the file does not have. Raises SettingsError if it is damaged."""
    return read_rows(FILE, preset) if preset else {}


@cache
def ids(preset: str) -> frozenset[str]:
    """The ids of a preset's rows, without reading the rows. Raises SettingsError if the file is damaged."""
    if not preset:
        return frozenset()
    found = _IDS.findall(_block(FILE, preset)[0])
    return frozenset(name.decode(errors="replace") for name in found)


def read_rows(path: Path, preset: str) -> dict[str, Row]:
    """The rows of a preset in any file: one a line, those of a preset together. Raises SettingsError: one line."""
    block, before = _block(path, preset)
    found = {}
    for number, text in enumerate(block.splitlines(), before + 1):
        try:
            row = _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SettingsError(f"{path}: line {number}: {str(error)[:200]}: {_REMEDY}") from None
        found[row.id] = row
    return found


def _block(path: Path, preset: str) -> tuple[bytes, int]:
    """The lines of a preset, and how many stand before them."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}: {_REMEDY}") from None
    if not data.endswith(b"\n"):
        raise SettingsError(f"{path}: is cut short: {_REMEDY}")
    start = b'{"preset":"%s",' % preset.encode()
    begin = 0 if data.startswith(start) else data.find(b"\n" + start) + 1
    if not begin and not data.startswith(start):
        return b"", 0
    end = begin
    while data.startswith(start, end):
        end = data.find(b"\n", end) + 1
    return data[begin:end], data.count(b"\n", 0, begin)
