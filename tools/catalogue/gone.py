"""Owns the rows that no source has any more: the last that was known of each, so that nothing sold vanishes in silence."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import structs

from schemas.catalogue.row import Row
from tools.catalogue.inputs import DATA, InputError

GONE: Final = DATA / "gone.jsonl"
KEPT: Final = "kept"
_decode: Final = msgspec.json.Decoder(Row).decode


def read_rows(data: bytes, name: str) -> tuple[Row, ...]:
    """Rows, one a line. Raises InputError: one line that names the file."""
    found = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            found.append(_decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputError(f"{name}: line {number}: {error}") from None
    return tuple(found)


def read_gone(path: Path = GONE) -> tuple[Row, ...]:
    """The rows that are kept. Raises InputError."""
    return read_rows(path.read_bytes(), path.name) if path.exists() else ()


def kept(gone: Iterable[Row], before: Iterable[Row], has: Collection[tuple[str, str]]) -> tuple[Row, ...]:
    """What is to be kept now: of the rows kept so far and those before, each that the sources no longer have."""
    last = {(row.preset, row.id): row for row in (*gone, *before) if (row.preset, row.id) not in has}
    return tuple(
        structs.replace(row, aliases=(), sources=KEPT)
        for _, row in sorted(last.items(), key=lambda one: one[0])
    )
