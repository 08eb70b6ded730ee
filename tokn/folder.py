"""Owns the data folder of `tokn up`: its lock, its secrets, and the file by which commands find what runs."""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from runtime.settings.settings import SettingsError
from schemas.bus.subjects import Role

ORPHANS_TIMEOUT_S = 5.0  # how long the children of a killed `tokn up` may take to end


def with_passwords(passwords: Mapping[str, str], users: Iterable[str]) -> dict[str, str]:
    """The passwords that there are, and a new one for each user without."""
    made = {user: secrets.token_urlsafe(24) for user in users if not passwords.get(user)}
    return {**passwords, **made}


class Secrets(Struct, frozen=True):
    """What is made once and kept: the bus password of each role, and the pepper of key hashes."""

    passwords: dict[str, str]
    pepper: str


class ChildRun(Struct, frozen=True):
    """One running child. `metrics_port` is 0 until it has told its port, and for children without one."""

    name: str
    pid: int
    metrics_port: int = 0


class Run(Struct, frozen=True):
    """What runs on a data folder now, for the other commands."""

    pid: int
    url: str
    nats_url: str
    command_password: str
    children: tuple[ChildRun, ...] = ()
    console_url: str = ""  # empty without a console


class Folder:
    """One data folder, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.lock_fd = -1

    @property
    def store(self) -> Path:
        """JetStream's folder."""
        return self.path / "nats"

    @property
    def nats_config(self) -> Path:
        """The configuration of the embedded nats-server."""
        return self.path / "nats.conf"

    @property
    def nats_log(self) -> Path:
        """What nats-server says."""
        return self.path / "nats.log"

    def open(self) -> None:
        """Makes the folder and takes its lock, until this process and its children have ended. Raises SettingsError.

        The lock belongs to the open file, and children inherit it: a folder whose `tokn up` was killed is free only
        once the last of them is gone, so no two servers ever write one store.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self.lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingsError(f"the data folder {self.path} cannot be written: {error.strerror}") from None
        deadline = time.monotonic() + ORPHANS_TIMEOUT_S
        while not self._locked():
            owner = os.pread(self.lock_fd, 32, 0).decode(errors="replace").strip()
            if (owner.isdecimal() and _alive(int(owner))) or time.monotonic() > deadline:
                os.close(self.lock_fd)
                self.lock_fd = -1
                raise SettingsError(
                    f"the data folder {self.path} is in use by another tokn up (pid {owner}): stop it, or choose another --data"
                )
            time.sleep(0.02)
        os.ftruncate(self.lock_fd, 0)
        os.pwrite(self.lock_fd, f"{os.getpid()}\n".encode(), 0)
        self.forget_run()

    def _locked(self) -> bool:
        try:
            fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Gives the lock back."""
        if self.lock_fd >= 0:
            self.forget_run()
            os.close(self.lock_fd)
            self.lock_fd = -1

    def secrets(self) -> Secrets:
        """The secrets of this folder: those that it has, and new ones for whatever has none. Raises SettingsError.

        A folder of an earlier version lacks the roles that came later. A role whose password was taken out of the file
        gets a new one at the next start.
        """
        path = self.path / "secrets.json"
        kept = Secrets({}, secrets.token_urlsafe(32))
        try:
            if path.exists():
                kept = msgspec.json.decode(path.read_bytes(), type=Secrets)
            passwords = with_passwords(kept.passwords, [role.value for role in Role])
            made = structs.replace(kept, passwords=passwords)
            if passwords != kept.passwords:
                self.write(path, msgspec.json.encode(made))
        except OSError as error:
            raise SettingsError(f"{path} cannot be read or written: {error.strerror}") from None
        except msgspec.MsgspecError:
            raise SettingsError(
                f"{path} is damaged: restore it from a backup (keys depend on its pepper)"
            ) from None
        return made

    def write(self, path: Path, data: bytes) -> None:
        """Replaces a file of the folder in one step, readable by its owner only."""
        fresh = path.with_name(path.name + ".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def write_run(self, run: Run) -> None:
        """Says what runs."""
        self.write(self.path / "run.json", msgspec.json.encode(run))

    def forget_run(self) -> None:
        """Nothing runs."""
        with contextlib.suppress(OSError):
            (self.path / "run.json").unlink()

    def read_run(self) -> Run | None:
        """What runs on this folder, None for nothing."""
        try:
            run = msgspec.json.decode((self.path / "run.json").read_bytes(), type=Run)
        except (OSError, msgspec.MsgspecError):
            return None
        return run if _alive(run.pid) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
