"""Owns static files: read once, served under names that have a hash of their bytes, and nothing else by any path."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

FOLDER: Final = Path(__file__).parent / "static"
PREFIX: Final = "/static/"
HASH_CHARS: Final = 12
FILE_BYTES_MAX: Final = 256 * 1024
_KINDS: Final = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml; charset=utf-8",
    ".png": b"image/png",
}


class Asset(Struct, frozen=True):
    """One file: `name` in its folder, `path` where it is served, `kind` its content type."""

    name: str
    path: str
    kind: bytes
    body: bytes


class Assets:
    """The files of some folders, by the path that they are served under. Raises ValueError for what cannot be served."""

    def __init__(self, *folders: Path) -> None:
        self._named: dict[str, Asset] = {}
        for folder in (FOLDER, *folders):
            for file in sorted(folder.iterdir()):
                if file.is_file():
                    self._named[file.name] = _read(file)
        self._by_path = {asset.path: asset for asset in self._named.values()}

    def url(self, name: str) -> str:
        """Where a file is served, by its name in its folder. Raises KeyError."""
        return self._named[name].path

    def named(self, name: str) -> Asset:
        """A file by its name in its folder, for one that has a fixed address too. Raises KeyError."""
        return self._named[name]

    def at(self, path: str) -> Asset | None:
        """What is served at a path, compared as it is written: there is no folder to climb out of."""
        return self._by_path.get(path)

    def __iter__(self) -> Iterator[Asset]:
        return iter(self._named.values())


def _read(file: Path) -> Asset:
    kind, body = _KINDS.get(file.suffix), file.read_bytes()
    if kind is None or len(body) > FILE_BYTES_MAX:
        raise ValueError(f"{file.name} is of an unknown kind, or larger than {FILE_BYTES_MAX} bytes")
    digest = hashlib.sha256(body).hexdigest()[:HASH_CHARS]
    return Asset(file.name, f"{PREFIX}{file.stem}-{digest}{file.suffix}", kind, body)
