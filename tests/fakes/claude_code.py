"""Owns Claude Code for tests: installs it once, pinned by hash, and has it do one task in an empty folder."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.fakes.clients import block, variables
from tests.fakes.node import install_locked
from tests.fakes.tokn import ROOT, environment

SOURCE = ROOT / "tests" / "system" / "claude_code"
FOLDER = ROOT / ".build" / "claude_code"
TASK_S = 180


def install() -> Path:
    """The program, installed under .build/claude_code unless it is there already. One test process at a time does."""
    install_locked(SOURCE, FOLDER)
    # The package's own launcher is put in its place by a script, and none is run.
    (program,) = FOLDER.glob("node_modules/@anthropic-ai/claude-code-*/claude")
    return program


def ask(url: str, key: str, model: str, task: str, home: Path) -> dict[str, Any]:
    """What it says of one task, as JSON: `is_error`, `result`, `num_turns` and more. It may run any command."""
    done = subprocess.run(
        [str(install()), "-p", task, "--allowedTools", "Bash,Edit", "--output-format", "json"],
        cwd=home,
        env=environment(
            HOME=str(home),
            DISABLE_AUTOUPDATER="1",
            **variables(block("claude-code", url, key, model)),
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TASK_S,
    )
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))
