"""`tokn backup`: the books and the secrets of a running gateway, whole or not at all, and what a restore of them serves."""

import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import httpx2
import pytest

from tests.fakes.books import path_of
from tests.fakes.tokn import Tokn, run

pytestmark = pytest.mark.system

SANDBOX = '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\nwords_per_s = 0\n'
BODY = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
CALLERS = 4


def call(url: str, key: str) -> int:
    """The status of one call."""
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.post(f"{url}/v1/chat/completions", json=BODY, headers=headers, timeout=60).status_code


class Load:
    """Callers who call without a pause until the block ends."""

    def __init__(self, url: str, key: str) -> None:
        self._over = threading.Event()
        self.statuses: list[int] = []
        self._threads = [threading.Thread(target=self._call, args=(url, key)) for _ in range(CALLERS)]

    def _call(self, url: str, key: str) -> None:
        while not self._over.is_set():
            self.statuses.append(call(url, key))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A gateway that was backed up under load, and the backup; the gateway has stopped since."""
    folder = tmp_path_factory.mktemp("backup")
    with Tokn(folder / "data", SANDBOX) as tokn:
        made = tokn.row("key", "create", "--balance", "50")
        with Load(tokn.url, made["key"]) as load:
            before = [call(tokn.url, made["key"]) for _ in range(20)]
            done = tokn.run("backup", str(folder / "copy"), "--json")
        again = tokn.run("backup", str(folder / "copy"))
        tokn.stop()
        yield SimpleNamespace(
            folder=folder,
            copy=folder / "copy",
            data=tokn.data,
            key=made,
            before=before,
            load=load.statuses,
            done=done,
            again=again,
        )


def test_a_backup_under_load(saved: SimpleNamespace) -> None:
    """No call fails for it, and its files, for their owner only, are all that a restore needs."""
    assert saved.done.returncode == 0, saved.done.stderr
    assert set(saved.before + saved.load) == {200}
    assert json.loads(saved.done.stdout) == {"folder": str(saved.copy), "books": True, "pepper": True}
    names = {path.name for path in saved.copy.iterdir()}
    assert names == {"ledger.db", "secrets.json", "first-key"}
    assert stat.S_IMODE(saved.copy.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in saved.copy.iterdir()} == {0o600}


def test_a_backup_never_overwrites(saved: SimpleNamespace) -> None:
    """A folder that has something in it is refused in one line, and stays as it is."""
    assert saved.again.returncode == 1
    assert len(saved.again.stderr.splitlines()) == 1
    assert "is not empty" in saved.again.stderr


def test_a_restore_serves(saved: SimpleNamespace) -> None:
    """In a new folder the key works with the balance of the backup, no key is made anew, and the audit proves the books."""
    restored = saved.folder / "restored"
    shutil.copytree(saved.copy, restored)
    with Tokn(restored, SANDBOX) as tokn:
        assert [row["id"] for row in tokn.rows("key", "list")][1:] == [saved.key["id"]]
        calls = len(tokn.rows("usage", "--key", saved.key["id"], "--limit", "9999"))
        assert calls >= 20
        assert call(tokn.url, saved.key["key"]) == 200
        tokn.settled(saved.key["id"], within_s=60)
        assert tokn.audit()["ok"]


def test_another_pepper_is_refused(saved: SimpleNamespace) -> None:
    """Books beside new secrets end `tokn up` with exit code 3 and one line, before any key is refused."""
    alone = saved.folder / "alone"
    alone.mkdir()
    shutil.copy(saved.copy / "ledger.db", alone)
    (saved.folder / "alone.toml").write_text(SANDBOX)
    words = ("up", "--port", "0", "--data", str(alone), "--config", str(saved.folder / "alone.toml"))
    done = run(*words, timeout_s=60)
    assert done.returncode == 3, done.stderr
    assert "[ledger] pepper: the keys of these books were hashed with another one" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_backup_is_whole_or_nothing(saved: SimpleNamespace, tmp_path: Path) -> None:
    """Books that are damaged, or not there, or without a pepper, leave neither a folder nor a part of one."""
    data = tmp_path / "data"
    shutil.copytree(saved.copy, data)
    size = (data / "ledger.db").stat().st_size
    with (data / "ledger.db").open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 8_192)
    damaged = run("backup", str(tmp_path / "copy"), "--data", str(data))
    (data / "ledger.db").unlink()
    gone = run("backup", str(tmp_path / "copy"), "--data", str(data))
    shutil.copy(saved.copy / "ledger.db", data)
    (data / "secrets.json").unlink()
    alone = run("backup", str(tmp_path / "copy"), "--data", str(data))
    for done, why in ((damaged, "damaged"), (gone, "no books"), (alone, "no pepper")):
        assert done.returncode == 1, done
        assert len(done.stderr.splitlines()) == 1
        assert why in done.stderr or "malformed" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_books_elsewhere(saved: SimpleNamespace, tmp_path: Path) -> None:
    """Where the books are in PostgreSQL, the secrets are copied, and the command says how to save the books."""
    (tmp_path / "tokn.toml").write_text(
        '[ledger]\ndatabase_url = "postgresql+asyncpg://nobody@localhost/books"\n'
    )
    words = ("--data", str(saved.data), "--config", str(tmp_path / "tokn.toml"))
    done = run("backup", str(tmp_path / "copy"), *words)
    assert done.returncode == 0, done.stderr
    assert "pg_dump" in done.stdout
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {"secrets.json", "first-key"}


def test_books_beside_the_configuration(saved: SimpleNamespace, tmp_path: Path) -> None:
    """Books that the configuration names by a path from here are copied as any other."""
    shutil.copytree(saved.data, tmp_path / "data")
    here = os.path.relpath(path_of(tmp_path / "data"))
    (tmp_path / "tokn.toml").write_text(f'[ledger]\ndatabase_url = "sqlite:///{here}"\n')
    words = ("--data", str(tmp_path / "data"), "--config", str(tmp_path / "tokn.toml"))
    done = run("backup", str(tmp_path / "copy"), *words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy" / "ledger.db").is_file()
