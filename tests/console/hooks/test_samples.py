"""The samples of the documentation: each accepts what is signed, under either secret of a rotation, and nothing else."""

import asyncio
import re
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from console.hooks.address import target_of
from console.hooks.sending import post
from console.hooks.signing import headers
from console.pages.webhooks import SAMPLES
from schemas.events import EVENTS, body_of
from schemas.webhooks import new_secret
from tests.fakes.node import NODE
from tests.fakes.ports import free_port
from tests.fakes.tokn import environment

PAGE = Path(__file__).resolve().parents[3] / "docs" / "webhooks.md"
BODY = body_of("balance.low", "2026-11-26T10:00:00.000Z", {"account": "key:key_ü"})
SECRET, OTHER = new_secret(), new_secret()


def sample(language: str) -> str:
    """The one block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def deliveries() -> dict[str, tuple[dict[str, str], bytes, bool]]:
    """What comes, and whether it is to be accepted."""
    now = int(time.time())
    signed = headers((SECRET,), "evt_1", now, BODY)
    return {
        "signed": (signed, BODY, True),
        "during a rotation": (headers((OTHER, SECRET), "evt_1", now, BODY), BODY, True),
        "by another secret": (headers((OTHER,), "evt_1", now, BODY), BODY, False),
        "another body": (signed, BODY + b" ", False),
        "another id": (signed | {"webhook-id": "evt_2"}, BODY, False),
        "an old one": (headers((SECRET,), "evt_1", now - 3_600, BODY), BODY, False),
    }


@pytest.mark.parametrize("language", ["py", "mjs"])
async def test_a_server_as_pasted(language: str, tmp_path: Path) -> None:
    """The sample runs as it stands, answers 204 to what is signed, and 401 to anything else."""
    file = tmp_path / f"receiver.{language}"
    file.write_text(sample(language))
    port = free_port()
    program = sys.executable if language == "py" else NODE
    here = environment(PORT=str(port), WEBHOOK_SECRET=SECRET)
    running = subprocess.Popen([program, str(file)], env=here, stderr=subprocess.DEVNULL)
    try:
        target = await target_of(f"http://127.0.0.1:{port}/", allow_private=True)
        tls = ssl.create_default_context()
        async with asyncio.timeout(60):
            while not (await post(target, deliveries()["signed"][0], BODY, tls)).code:
                assert running.poll() is None
                await asyncio.sleep(0.05)
        for name, (head, body, accepted) in deliveries().items():
            said = await post(target, head, body, tls)
            assert said.code == (204 if accepted else 401), name
    finally:
        running.kill()
        running.wait()


def test_a_shell(tmp_path: Path) -> None:
    """The shell's lines end well for what is signed alone."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    for name, (head, body, accepted) in deliveries().items():
        (tmp_path / "body.json").write_bytes(body)
        here = environment(
            WEBHOOK_SECRET=SECRET,
            ID=head["webhook-id"],
            TIMESTAMP=head["webhook-timestamp"],
            SIGNATURE=head["webhook-signature"],
        )
        done = subprocess.run(
            ["bash", "-uc", sample("bash")],
            cwd=tmp_path,
            env=here,
            check=False,
            capture_output=True,
            text=True,
        )
        assert (done.returncode == 0) == accepted, (name, done.stderr)
        assert ("verified" in done.stdout) == accepted


def test_the_console_shows_the_same() -> None:
    """The samples of its pages are those of the documentation."""
    shown = dict(SAMPLES)
    assert [shown[name] for name in ("Python", "Node", "Shell")] == [
        sample(language) for language in ("py", "mjs", "bash")
    ]


def test_every_type_is_documented() -> None:
    """The page's table has every type, and no other."""
    table = PAGE.read_text().partition("## Types")[2].partition("##")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = re.findall(r"`([a-z._]+)`", " ".join(cells))
    assert sorted(named) == sorted(one.name for one in EVENTS)
