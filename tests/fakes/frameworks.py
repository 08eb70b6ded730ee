"""Owns the Python frameworks that people use, for the long run: an environment of their own, pinned by hash, and their drivers."""

import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fakes.tokn import ROOT, environment

SOURCE = ROOT / "tests" / "system" / "frameworks"
FOLDER = ROOT / ".build" / "frameworks"
BIN = FOLDER / "env" / "bin"
INSTALL_S = 300.0  # some hundred megabytes
RUN_S = 180.0


def install() -> None:
    """Installs the locked packages, unless they are there already. One test process at a time does."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        lock, done = SOURCE / "requirements.lock", FOLDER / "installed.lock"
        if done.exists() and done.read_bytes() == lock.read_bytes():
            return
        _uv("venv", "--clear", "--python", sys.executable, str(BIN.parent))
        _uv("pip", "sync", "--require-hashes", "--no-build", "--python", str(BIN / "python"), str(lock))
        shutil.copy(lock, done)


def _uv(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "uv", "-q", *arguments],
        check=True,
        capture_output=True,
        timeout=INSTALL_S,
    )


def drive(name: str, steps: list[dict[str, Any]], home: Path, **env: str) -> list[dict[str, Any]]:
    """What a driver of `tests/system/frameworks` says of each step, in one process."""
    done = program("python", str(SOURCE / f"{name}.py"), home=home, stdin=json.dumps(steps), **env)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def program(
    name: str, *arguments: str, home: Path, stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program of the environment to its end."""
    return subprocess.run(
        [str(BIN / name), *arguments],
        cwd=home,
        env=environment(HOME=str(home), **env),
        input=stdin,
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
