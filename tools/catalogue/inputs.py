"""Owns the inputs that lie in the repository: what was extracted of each source, and the lock that says of which."""

import gzip
import hashlib
import json
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

DATA: Final = Path(__file__).parent / "data"
LOCK: Final = DATA / "catalogue.lock"
_SOURCES: Final = ("genai-prices", "litellm", "pi-ai")


class Source(Struct, frozen=True, kw_only=True):
    """One package: where it comes from, its licence, and the hashes of its archive and of what was extracted."""

    name: str
    package: str
    manager: str  # "pip" or "npm"
    version: str
    licence: str
    copyright: str
    archive_sha256: str
    extracted_sha256: str

    @property
    def path(self) -> Path:
        """What was extracted."""
        return DATA / f"{self.name}.json.gz"


class Lock(Struct, frozen=True):
    """The day that the catalogue is of, and its sources."""

    as_of: date
    sources: tuple[Source, ...]


class InputError(Exception):
    """An input is damaged, or is not the one that the lock names."""


def read_lock(path: Path = LOCK) -> Lock:
    """The lock. Raises InputError: one line that names the file."""
    try:
        root = tomllib.loads(path.read_text())
        sources = tuple(Source(name=name, **root["sources"][name]) for name in _SOURCES)
        return Lock(root["as_of"], sources)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path.name}: cannot be read: {error}") from None


def write_lock(lock: Lock, path: Path = LOCK) -> None:
    """Writes the lock."""
    lines = ["# What the catalogue is made from. `make catalogue-update` writes it.", f"as_of = {lock.as_of}"]
    for source in lock.sources:
        lines += ["", f"[sources.{source.name}]"]
        lines += [
            f"{name} = {json.dumps(getattr(source, name))}"
            for name in Source.__struct_fields__
            if name != "name"
        ]
    path.write_text("\n".join(lines) + "\n")


def read_extracted(source: Source) -> Any:
    """What was extracted of a source. Raises InputError if it is not what the lock names."""
    try:
        raw = gzip.decompress(source.path.read_bytes())
    except (OSError, EOFError) as error:
        raise InputError(f"{source.path.name}: cannot be read: {error}") from None
    if hashlib.sha256(raw).hexdigest() != source.extracted_sha256:
        raise InputError(f"{source.path.name}: is not what {LOCK.name} names: run make catalogue-update")
    return json.loads(raw, parse_float=str)


def write_extracted(name: str, content: Mapping[str, Any]) -> str:
    """Writes what was extracted, sorted and compressed without a date. Returns its hash."""
    raw = json.dumps(content, sort_keys=True, indent=0, separators=(",", ":")).encode()
    (DATA / f"{name}.json.gz").write_bytes(gzip.compress(raw, 9, mtime=0))
    return hashlib.sha256(raw).hexdigest()
