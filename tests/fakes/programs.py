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
RUN_S = 180


def install() -> None:
    """Installs the locked packages, unless they are there already. One test process at a time does."""
    install_locked(SOURCE, FOLDER, within_s=INSTALL_S)


def _run(
    *command: str, folder: Path = FOLDER, script: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    kept = environment(**env)
    return subprocess.run(
        command,
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
    return _run(str(NODE), str(program), *options, folder=folder, **env)


def opencode(tokn: Tokn, folder: Path, model: str, key: str = "") -> subprocess.CompletedProcess[str]:
    """OpenCode's answer to a prompt, in a folder of its own in which it may run anything. Its lock has Linux's build alone."""
    (folder / "opencode.json").write_text(block("opencode", tokn.url, tokn.key, model))
    program = FOLDER / "node_modules" / "opencode-linux-x64" / "bin" / "opencode"
    options = ("run", "--auto", "--title", "made", "--model", f"tokn/{model}", "Make the file.")
    env = {"HOME": str(folder), "TOKN_API_KEY": key or tokn.key}
    quiet = dict.fromkeys(("OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_AUTOUPDATE"), "1")
    return _run(str(program), *options, folder=folder, **env, **quiet)


def continue_cli(tokn: Tokn, folder: Path, model: str, key: str = "") -> subprocess.CompletedProcess[str]:
    """The answer to a prompt of Continue's command line, in a folder of its own in which it may run anything."""
    (folder / "continue.yaml").write_text(block("continue", tokn.url, key or tokn.key, model))
    program = FOLDER / "node_modules" / "@continuedev" / "cli" / "dist" / "cn.js"
    options = ("--config", "continue.yaml", "--auto", "-p", "Make the file.")
    return _run(
        str(NODE), str(program), *options, folder=folder, HOME=str(folder), CONTINUE_TELEMETRY_ENABLED="0"
    )


def loop(tokn: Tokn, name: str, lines: str, asked: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What a client's documented lines print, and what a tool loop after them came to: its text, what its tool was asked."""
    script = lines + (SOURCE / f"{name}_loop.mjs").read_text()
    command = (str(NODE), "--input-type=module", "-", json.dumps(asked))
    done = _run(*command, script=script, TOKN_API_KEY=tokn.key)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    return first, dict(json.loads(last))


def ai_sdk(tokn: Tokn, model: str, *, store: bool | None) -> tuple[str, dict[str, Any]]:
    """The AI SDK's loop, with the errors that it met. Without `store` it takes its default."""
    asked = {"model": model} | ({} if store is None else {"store": store})
    return loop(tokn, "ai", block("ai-sdk", tokn.url, tokn.key, model), asked)


def openai_sdk(tokn: Tokn, model: str) -> tuple[str, dict[str, Any]]:
    """The loop of OpenAI's SDK for Node, with the last answer's tokens."""
    return loop(tokn, "openai", block("openai-node", tokn.url, tokn.key, model), {"model": model})


def anthropic_sdk(tokn: Tokn, model: str) -> tuple[str, dict[str, Any]]:
    """The loop of Anthropic's SDK for Node, with the last answer's tokens."""
    return loop(tokn, "anthropic", block("anthropic-node", tokn.url, tokn.key, model), {"model": model})
