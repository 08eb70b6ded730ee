"""The examples of docs/admin-api.md run as they stand."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.console.api.rig import Rig

PAGE = Path(__file__).resolve().parents[3] / "docs" / "admin-api.md"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTED_URL = "http://127.0.0.1:8001"


async def run(rig: Rig, page: Path, least: int) -> None:
    """Runs the examples of a page in their turn, with the reader's own key and port."""
    key = await rig.key()
    scripts = BLOCK.findall(page.read_text())
    assert len(scripts) >= least
    for script in scripts:
        here = script.replace(DOCUMENTED_URL, rig.url).replace("curl -s", "curl -fsS")
        asked = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            here,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "TOKN_ADMIN_KEY": key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asked.communicate()
        assert asked.returncode == 0, (script, err)
        assert b'"object":' in out


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_every_example_works_as_pasted(rig: Rig) -> None:
    """Each example succeeds."""
    await run(rig, PAGE, 5)
