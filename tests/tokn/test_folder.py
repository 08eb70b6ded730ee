import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime.settings.settings import SettingsError
from schemas.bus.subjects import Role
from tokn.folder import ORPHANS_TIMEOUT_S, Folder, Run


def test_secrets_are_made_once_and_kept(tmp_path):
    """Each role has its own password; a second start reads the same, and only the owner can."""
    made = Folder(tmp_path / "data")
    made.open()
    first = made.secrets()
    assert set(first.passwords) == {role.value for role in Role}
    assert len(set(first.passwords.values())) == len(Role)
    made.close()
    again = Folder(tmp_path / "data")
    again.open()
    assert again.secrets() == first
    again.close()
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert (tmp_path / "data" / "secrets.json").stat().st_mode & 0o077 == 0


def test_a_role_that_came_later_gets_a_password(tmp_path):
    """A folder of an earlier version keeps its pepper and its passwords, and gets those that it lacks, once."""
    folder = Folder(tmp_path)
    folder.open()
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"passwords": {"edge": "kept", "usage": ""}, "pepper": "the pepper"}))
    made = folder.secrets()
    assert made.pepper == "the pepper"
    assert made.passwords["edge"] == "kept"
    assert set(made.passwords) == {role.value for role in Role}
    assert all(made.passwords.values())
    assert folder.secrets() == made
    assert path.stat().st_mode & 0o077 == 0
    folder.close()


def test_damaged_secrets_are_refused(tmp_path):
    """Secrets that cannot be read are an error, never silently made anew: keys hang on the pepper."""
    folder = Folder(tmp_path)
    folder.open()
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(SettingsError, match="damaged"):
        folder.secrets()
    folder.close()


def test_folder_in_use_is_refused_at_once(tmp_path):
    """While its owner lives a folder is refused without waiting, in one line with its path."""
    owner = Folder(tmp_path)
    owner.open()
    begun = time.monotonic()
    with pytest.raises(SettingsError, match=f"{tmp_path}.*in use"):
        Folder(tmp_path).open()
    assert time.monotonic() - begun < ORPHANS_TIMEOUT_S  # as long as a wait would take
    owner.close()
    next_one = Folder(tmp_path)
    next_one.open()
    next_one.close()


def test_folder_is_free_only_when_the_children_of_its_owner_are_gone(tmp_path):
    """After a kill the lock is held by whatever child still runs: the next start waits for its end."""
    folder = Folder(tmp_path)
    folder.open()
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=(folder.lock_fd,),
    )
    os.pwrite(folder.lock_fd, b"999999999\n", 0)  # an owner that is dead
    os.close(folder.lock_fd)
    assert child.stdin is not None
    ending = threading.Timer(0.3, child.stdin.close)
    ending.start()
    begun = time.monotonic()
    second = Folder(tmp_path)
    second.open()
    assert 0.2 < time.monotonic() - begun < 5
    second.close()
    ending.join()
    child.wait(5)


@pytest.mark.parametrize("name", ["file/data", "file"])
def test_folder_that_cannot_be_made_is_one_line(tmp_path, name):
    """A path that cannot be a folder is a SettingsError that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=name):
        Folder(tmp_path / name).open()


def test_run_file_counts_only_while_its_process_lives(tmp_path):
    """Commands find a running deployment; one that has died is not found."""
    folder = Folder(tmp_path)
    folder.open()
    assert folder.read_run() is None
    folder.write_run(Run(os.getpid(), "http://x", "nats://x", "secret"))
    assert folder.read_run() == Run(os.getpid(), "http://x", "nats://x", "secret")
    assert (Path(tmp_path) / "run.json").stat().st_mode & 0o077 == 0
    ended = subprocess.Popen(["true"])
    ended.wait()
    folder.write_run(Run(ended.pid, "http://x", "nats://x", "secret"))
    assert folder.read_run() is None
    folder.close()
