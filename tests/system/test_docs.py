import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.settings.settings import load
from tests.fakes.tokn import Tokn, environment, wait_for

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTED_URL = "http://127.0.0.1:8000"
PROVIDER_KEYS = dict.fromkeys(("ANTHROPIC_API_KEY", "AZURE_OPENAI_API_KEY", "GEMINI_API_KEY"), "docs")
PROVIDER_KEYS["OPENAI_API_KEY"] = "sk-docs"
PROVIDER_KEYS |= {"STRIPE_API_KEY": "rk_live_docs", "STRIPE_WEBHOOK_SECRET": "whsec_docs"}
PROVIDER_KEYS["TOKN_OIDC_SECRET"] = "docs"
KEY_ID, OTHER_ID, CALL, CAP_ID = "key_…", "key_other…", "req_…", "cap_…"
HOOK_ID = "whe_…"

pytestmark = pytest.mark.system


def blocks(language: str) -> list[pytest.param]:
    """Every block of a language in the pages for users."""
    return [
        pytest.param(match[2], id=f"{page.stem}-{number}")
        for page in PAGES
        for number, match in enumerate(BLOCK.finditer(page.read_text()), 1)
        if match[1] == language
    ]


def curls() -> list[pytest.param]:
    """Every shell block that calls the gateway."""
    return [block for block in blocks("sh") if block.values[0].startswith("curl")]


def commands() -> list[pytest.param]:
    """Every `tokn` line of the shell blocks, with its comment taken off."""
    lines = [
        line for block in blocks("sh") for line in block.values[0].splitlines() if line.startswith("tokn ")
    ]
    return sorted({line.split("  #")[0].strip() for line in lines})


@pytest.fixture(scope="module")
def documented(tmp_path_factory) -> Iterator[Tokn]:
    """A gateway as `make up` starts it on a machine without credentials."""
    with Tokn(tmp_path_factory.mktemp("docs") / "data") as running:
        yield running


@pytest.mark.parametrize("script", curls())
def test_every_curl_works_as_pasted(documented, script):
    """A shell block that calls the gateway succeeds, with the reader's own key and port."""
    here = script.replace(DOCUMENTED_URL, documented.url).replace("curl -s", "curl -fs")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", here],
        env=environment(TOKN_API_KEY=documented.key),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert '"error"' not in done.stdout.replace('"error":null', "")  # which a response that went well says


@pytest.mark.parametrize("script", blocks("python"))
def test_every_python_snippet_runs(documented, script):
    """A Python block runs as it stands, with the reader's own key and port."""
    here = script.replace(DOCUMENTED_URL, documented.url).replace("<TOKN_API_KEY>", documented.key)
    done = subprocess.run(
        [sys.executable, "-c", here], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "sandbox" in done.stdout


@pytest.fixture(scope="module")
def call(documented) -> str:
    """The id of a call that is billed."""
    body = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "Hello"}]}
    head = {"Authorization": f"Bearer {documented.key}"}
    answer = httpx.post(f"{documented.url}/v1/chat/completions", headers=head, json=body, timeout=60)
    request_id = answer.headers["x-request-id"]
    wait_for(lambda: documented.run("usage", request_id).returncode == 0, 10, "the call is billed")
    wait_for(lambda: documented.row("usage", request_id)["hold"]["state"] == "settled", 10, "its hold ended")
    return request_id


@pytest.mark.parametrize("line", commands())
def test_every_command_works(documented, call, line):
    """A `tokn` line of the documentation succeeds on a running gateway, with the reader's own key id or cap."""
    make = ("key", "create", "--name", "docs", "--profile", "acme", "--balance", "1")
    if CAP_ID in line:
        target = documented.row(*make)["id"]
        cap = documented.row("cap", "create", "100", "--period", "month", "--key", target)["id"]
        line = line.replace(CAP_ID, cap)
    if HOOK_ID in line:
        line = line.replace(HOOK_ID, documented.row("webhook", "create", "https://example.com/")["id"])
    for name in (OTHER_ID, KEY_ID):
        if name in line:
            line = line.replace(name, documented.row(*make)["id"])
    done = documented.run(*shlex.split(line.replace(CALL, call) if CALL in line else line)[1:])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_configuration_loads(tmp_path, text):
    """A configuration block is accepted as it stands."""
    tomllib.loads(text)
    path = tmp_path / "tokn.toml"
    path.write_text(text)
    assert load(path, credentials=True, environment=PROVIDER_KEYS).models
