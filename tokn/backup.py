"""Owns `tokn backup`: the books and the secrets of a data folder, in a new folder, whole or not at all."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from runtime.settings.settings import load
from tokn import show
from tokn.errors import RefusedError
from tokn.options import AsJson, Config, Data, folder_of

BOOKS = "ledger.db"
# The pepper, and that the first key has been made.
KEPT = ("secrets.json", "first-key")
_SQLITE = "sqlite:///"


def backup(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet.")],
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Copy the books and the secrets of a data folder, while the gateway runs: what a restore needs."""
    folder = folder_of(data).absolute()
    settings = load(config, credentials=False, pages=False, data=folder)
    books = (
        Path(settings.database_url.removeprefix(_SQLITE)).absolute()
        if settings.database_url.startswith(_SQLITE)
        else None
    )
    if books is not None and not books.is_file():
        raise RefusedError(f"there are no books at {books}: name their folder with --data or TOKN_DATA")
    has_pepper = (folder / KEPT[0]).is_file()
    if not has_pepper and not settings.pepper:
        raise RefusedError(f"there is no pepper at {folder / KEPT[0]}: without it no key would work")
    with _whole(target.absolute()) as made:
        if books is not None:
            _copy_books(books, made / BOOKS)
        for name in KEPT:
            if (folder / name).is_file():
                _copy(folder / name, made / name)
    row = {"folder": str(target.absolute()), "books": books is not None, "pepper": has_pepper}
    if as_json:
        show.json_lines([row])
        return
    told = [f"Copied to {target.absolute()}: keep it where only you can read it."]
    if books is None:
        told.append("The books are in PostgreSQL: save them with pg_dump, or by archiving its log.")
    if settings.pepper:
        told.append("The pepper is in your configuration, and not in the copy: keep it too.")
    sys.stdout.write("\n".join(told) + "\n")


def _copy_books(books: Path, copy: Path) -> None:
    from ledger.store.backup import copy_books  # noqa: PLC0415  only a backup loads the database's driver
    from ledger.store.base import StoreError  # noqa: PLC0415  as above

    try:
        copy_books(books, copy)
    except StoreError as error:
        raise RefusedError(str(error)) from None


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder that has its name only once all is in it. Raises RefusedError."""
    fresh = target.with_name(f"{target.name}.part")
    try:
        if target.exists() and any(target.iterdir()):
            raise RefusedError(f"{target} is not empty: name a folder that is not there yet")
        fresh.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise RefusedError(
            f"{fresh} is there: of a backup that runs, or was killed; then remove it"
        ) from None
    except OSError as error:
        raise RefusedError(f"{target} cannot be written: {error.strerror}") from None
    try:
        yield fresh
        _flush(fresh)
        fresh.rename(target)
        _flush(target.parent)
    except OSError as error:
        raise RefusedError(f"{target} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _copy(source: Path, copy: Path) -> None:
    with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(source.read_bytes())
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
