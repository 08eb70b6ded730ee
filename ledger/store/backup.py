"""Owns a copy of SQLite books while ledgers write to them: of one moment, looked through, and on the disk when it is there."""

import contextlib
import os
import sqlite3
from pathlib import Path

from ledger.store.base import StoreError

BUSY_TIMEOUT_S = 30.0


def copy_books(books: Path, copy: Path) -> None:
    """Writes a copy that only its owner can read. Raises StoreError, after which there may be a part of it.

    Calls go on meanwhile: the log beside the books grows by what they write until the copy is there.
    """
    try:
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with (
            contextlib.closing(
                sqlite3.connect(f"{books.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)
            ) as ours,
            contextlib.closing(sqlite3.connect(copy)) as theirs,
        ):
            ours.backup(theirs)  # all pages in one step: begun again at each commit, it would never end
            theirs.execute("PRAGMA journal_mode = DELETE")  # so that the file is all of it
            ((found,),) = theirs.execute("PRAGMA quick_check(1)").fetchall()
        if found != "ok":
            raise StoreError(f"{books} is damaged: {found}")
        with copy.open("rb") as file:
            os.fsync(file.fileno())
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{books} cannot be copied to {copy}: {error}") from error
