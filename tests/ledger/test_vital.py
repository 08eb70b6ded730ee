import asyncio
import sqlite3

import pytest

from ledger import app
from ledger.commits.writer import Writer
from ledger.store.base import StoreDown
from ledger.stream.consumer import Consumer
from ledger.stream.expiry import Expiry
from runtime.settings.settings import Settings, SettingsError
from schemas.bus.subjects import Role
from schemas.catalogue.builtin import BUILTIN
from tests.fakes.nats import NatsServer
from tests.ledger.harness import POOLS


async def fail(*_arguments):
    raise ValueError("broken")


@pytest.mark.parametrize(
    ("owner", "name"), [(Writer, "run"), (Consumer, "run"), (Consumer, "watch_forever"), (Expiry, "run")]
)
async def test_a_ledger_ends_with_a_task_that_it_needs(owner, name, tmp_path, monkeypatch):
    """Writer, consumer, watch, expiry: a ledger that lost one of them ends, with what ended it."""
    if owner is not Writer:
        monkeypatch.setattr(owner, name, fail)
    with NatsServer() as server:
        settings = Settings(
            nats=server.settings(Role.LEDGER),
            database_url=f"sqlite:///{tmp_path}/books.db",
            pepper="pepper",
            models=BUILTIN,
            pools=POOLS,
        )
        if owner is Writer:
            monkeypatch.setattr(Writer, "_step", fail)
        with pytest.raises(ValueError, match="broken"):
            await asyncio.wait_for(app.serve(settings, asyncio.Event()), 60)


async def test_a_disk_that_is_full_is_no_mistake_of_the_configuration(tmp_path, monkeypatch):
    """A start on a full disk fails so that it is tried again."""

    def full(*_arguments, **_options):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        raise error

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(StoreDown):
        await app.open_store(f"sqlite:///{tmp_path}/books.db")


@pytest.mark.parametrize("name", ["books.db", ".", "nowhere/.."])
async def test_what_is_no_database_is_one(name, tmp_path):
    """A file that is no database, or a folder in its place, is said once: no further start would find another."""
    (tmp_path / "books.db").write_text("no database" * 1000)
    with pytest.raises(SettingsError, match="cannot open"):
        await app.open_store(f"sqlite:///{tmp_path}/{name}")
