"""Owns `tokn ledger --import`: the books of a SQLite file, into the PostgreSQL that the configuration names."""

import asyncio
import sys
from pathlib import Path

from runtime.settings.settings import SettingsError, load
from tokn.errors import RefusedError


def import_file(config: Path | None, file: Path) -> None:
    """Copies the books and says what it has copied. Raises SettingsError, RefusedError."""
    settings = load(config, credentials=False, pages=False)
    if not settings.database_url.startswith("postgresql"):
        raise SettingsError(
            f"{settings.source}: [ledger] database_url: must be the PostgreSQL that the books go to"
        )
    if not file.is_file():
        raise RefusedError(f"there is no file {file}")
    from ledger.importing import import_books  # noqa: PLC0415  only an import loads the databases' drivers
    from ledger.store.base import StoreError  # noqa: PLC0415  as above

    try:
        copied = asyncio.run(import_books(file, settings.database_url))
    except StoreError as error:
        raise RefusedError(f"nothing was imported: {error}") from None
    sys.stdout.write(
        f"Imported {sum(copied.values())} rows of {len(copied)} tables: {copied['api_keys']} keys, "
        f"{copied['usage']} bills, {copied['transfers']} transfers. The audit is ok.\n"
    )
