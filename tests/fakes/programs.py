"""Owns the programs that people use, for the long run: installed once, pinned by hash, and run against a gateway."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.fakes.node import NODE, install_locked
from tests.fakes.tokn import ROOT, Tokn, environment

SOURCE = ROOT / "tests" / "system" / "programs"
FOLDER = ROOT / ".build" / "programs"
INSTALL_S = 300  # some hundred megabytes
RUN_S = 90


def install() -> None:
    """Installs the locked packages, unless they are there already. One test process at a time does."""
    install_locked(SOURCE, FOLDER, "loop.mjs", within_s=INSTALL_S)


def _node(
    *arguments: str, timeout_s: float, folder: Path = FOLDER, **env: str
) -> subprocess.CompletedProcess[str]:
    kept = environment(**env)
    return subprocess.run(
        [str(NODE), *arguments],
        cwd=folder,
        env=kept | {"PATH": f"{NODE.parent}:{kept['PATH']}"},
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )


def codex(tokn: Tokn, folder: Path, model: str, key: str = "") -> subprocess.CompletedProcess[str]:
    """Codex's answer to a prompt, in a folder of its own in which it may run anything."""
    (folder / "config.toml").write_text(
        f'model = "{model}"\nmodel_provider = "tokn"\n[model_providers.tokn]\nname = "tokn"\n'
        f'base_url = "{tokn.url}/v1"\nenv_key = "TOKN_API_KEY"\nwire_api = "responses"\n'
    )
    program = FOLDER / "node_modules" / "@openai" / "codex" / "bin" / "codex.js"
    options = (
        "exec",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        "Make the file.",
    )
    env = {"HOME": str(folder), "CODEX_HOME": str(folder), "TOKN_API_KEY": key or tokn.key}
    return _node(str(program), *options, timeout_s=RUN_S, folder=folder, **env)


def ai_sdk(tokn: Tokn, model: str, *, store: bool | None) -> dict[str, Any]:
    """What a tool loop of the AI SDK came to: its text, what its tool was asked, and its errors."""
    asked = json.dumps({"model": model} | ({} if store is None else {"store": store}))
    env = {"BASE_URL": f"{tokn.url}/v1", "TOKN_API_KEY": tokn.key}
    done = _node("loop.mjs", asked, timeout_s=RUN_S, **env)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))
