"""Owns the programs that people use, for the long run: installed once, pinned by hash, and run against a gateway."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.fakes.clients import block
from tests.fakes.node import NODE, install_locked
from tests.fakes.tokn import ROOT, Tokn, environment

SOURCE = ROOT / "tests" / "system" / "programs"
FOLDER = ROOT / ".build" / "programs"
INSTALL_S = 300  # some hundred megabytes
RUN_S = 90


def install() -> None:
    """Installs the locked packages, unless they are there already. One test process at a time does."""
    install_locked(SOURCE, FOLDER, within_s=INSTALL_S)


def _node(
    *arguments: str, folder: Path = FOLDER, script: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    kept = environment(**env)
    return subprocess.run(
        [str(NODE), *arguments],
        cwd=folder,
        env=kept | {"PATH": f"{NODE.parent}:{kept['PATH']}"},
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        input=script,
    )


def codex(tokn: Tokn, folder: Path, model: str, key: str = "") -> subprocess.CompletedProcess[str]:
    """Codex's answer to a prompt, in a folder of its own in which it may run anything."""
    (folder / "config.toml").write_text(block("codex", tokn.url, tokn.key, model))
    program = FOLDER / "node_modules" / "@openai" / "codex" / "bin" / "codex.js"
    options = (
        "exec",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        "Make the file.",
    )
    env = {"HOME": str(folder), "CODEX_HOME": str(folder), "TOKN_API_KEY": key or tokn.key}
    return _node(str(program), *options, folder=folder, **env)


def ai_sdk(tokn: Tokn, model: str, *, store: bool | None) -> tuple[str, dict[str, Any]]:
    """What the document's own lines print, and what a tool loop after them came to: text, what its tool was asked, errors."""
    asked = json.dumps({"model": model} | ({} if store is None else {"store": store}))
    script = block("ai-sdk", tokn.url, tokn.key, model) + (SOURCE / "loop.mjs").read_text()
    done = _node("--input-type=module", "-", asked, script=script, TOKN_API_KEY=tokn.key)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    return first, dict(json.loads(last))
