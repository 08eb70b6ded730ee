"""Owns the built-in rows: those of one preset at a time, read from `models.json` when they are first asked for."""

import re
from collections.abc import Mapping
from functools import cache
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final

import msgspec

from runtime.toml import SettingsError
from schemas.catalogue.row import Row

FILE: Final = Path(__file__).with_name("models.json")
REMEDY: Final = "install tokn again, or run make catalogue"
CATALOGUE_PRICE: Final = "catalogue:"  # begins the id of a price that a row of the file has
BUILTIN_PRICE: Final = "builtin:"
_IDS: Final = re.compile(rb'\{"preset":"[^"]*","id":"([^"\\]*)"')
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


def sources(price_id: str) -> str:
    """How the price of that id was found: a row's `sources`, "built in", or "configuration"."""
    if price_id.startswith(BUILTIN_PRICE):
        return "built in"
    if not price_id.startswith(CATALOGUE_PRICE):
        return "configuration"
    preset, _, rest = price_id.removeprefix(CATALOGUE_PRICE).partition(":")
    row = rows(preset).get(rest.rpartition(":")[0])  # behind it stands the day from which on it holds
    return row.sources if row is not None else "configuration"


def read_rows(path: Path, preset: str) -> dict[str, Row]:
    """The rows of a preset in any file: one a line, those of a preset together. Raises SettingsError: one line."""
    block, begin = _block(path, preset)
    found = {}
    for number, text in enumerate(block.splitlines(), 1):
        try:
            row = _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            line = path.read_bytes().count(b"\n", 0, begin) + number
            raise SettingsError(f"{path}: line {line}: {str(error)[:200]}: {REMEDY}") from None
        found[row.id] = row
    return found


def _block(path: Path, preset: str) -> tuple[bytes, int]:
    """The lines of a preset, and how many bytes stand before them: no more of the file is copied than that."""
    try:
        if not path.stat().st_size:
            raise SettingsError(f"{path}: is cut short: {REMEDY}")
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return _found(path, data, _start(preset))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}: {REMEDY}") from None


def _found(path: Path, data: mmap, start: bytes) -> tuple[bytes, int]:
    if data[-1:] != b"\n":
        raise SettingsError(f"{path}: is cut short: {REMEDY}")
    begin = 0 if data[: len(start)] == start else data.find(b"\n" + start) + 1
    if not begin and data[: len(start)] != start:
        return b"", 0
    end = begin
    while data[end : end + len(start)] == start:
        end = data.find(b"\n", end) + 1
    return data[begin:end], begin


def _start(preset: str) -> bytes:
    """How each line of a preset begins."""
    return b'{"preset":"%s",' % preset.encode()
