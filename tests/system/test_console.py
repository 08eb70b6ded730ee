"""Owns the console as a process: what a start prints, its port, its links, its life, its memory, its reload."""

import contextlib
import json
import re
import socket

import httpx
import pytest

from tests.fakes.ports import free_port
from tests.fakes.tokn import StartedTokn, Tokn, memory_bytes, status, wait_for

pytestmark = pytest.mark.system

LINK = re.compile(
    r"console: (http://127\.0\.0\.1:(\d+))/login#t=(\S+)   \(once, within 10 minutes; again: tokn console login\)"
)
BARE = re.compile(r"console: (http://127\.0\.0\.1:(\d+))   \(to sign in: tokn console login\)")
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
MEMORY_MAX_BYTES = 45 * 1024 * 1024
TOML = '[console]\nport = {port}\n[pools.sandbox]\nprovider = "sandbox"\nwords_per_s = 0\n'


class ForkedWithConsole(Tokn):
    """A deployment with its console."""

    console = True

    @property
    def link(self) -> re.Match[str]:
        """The line of the first start."""
        return wait_for(lambda: LINK.search("\n".join(self.lines)), 20, "the console's line")


class WithConsole(ForkedWithConsole, StartedTokn):
    """The same as people start it."""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """A first start while another process has the console's port, on a file that can be read again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        folder = tmp_path_factory.mktemp("console") / "data"
        with WithConsole(folder, TOML.format(port=port)) as running:
            running.wanted = port
            yield running


@contextlib.contextmanager
def signed_in(url: str, token: str, told: int = 303):
    """A browser that has sent the form to sign in, and was told so."""
    with httpx.Client(base_url=url, headers={"sec-fetch-site": "same-origin"}, timeout=30) as browser:
        csrf = CSRF.search(browser.get("/login").text)[1]
        assert browser.post("/login", data={"csrf": csrf, "token": token}).status_code == told
        yield browser


def test_a_start_says_where_the_console_is(deployment):
    """The first line is what it was, and the link stands below it; a port that is taken is no error: it has another."""
    assert deployment.link
    assert deployment.lines[0] == f"tokn is ready: {deployment.url}/v1"
    assert LINK.fullmatch(deployment.lines[1])
    assert int(deployment.link[2]) != deployment.wanted
    assert status(int(deployment.link[2]), "/") in {303, 421}


def test_the_printed_link_signs_in_once(deployment):
    """To an owner's pages; used again it is refused. Another link is one command, and the one before it dies with it."""
    url, token = deployment.link[1], deployment.link[3]
    with signed_in(url, token) as browser:
        home = browser.get("/")
        assert home.status_code == 200
        assert "Make a key" in home.text
    with signed_in(url, token, told=401):
        pass
    first = deployment.row("console", "login")["url"]
    second = deployment.run("console", "login").stdout.strip()
    assert first.startswith(f"{url}/login#t=")
    with signed_in(url, first, told=401), signed_in(url, second):
        pass


def test_it_is_a_child_like_the_others(deployment):
    """It shows as a process of its own, comes back when it is killed, and needs no more memory than is granted."""
    child = deployment.child("console")
    assert memory_bytes([child]) <= MEMORY_MAX_BYTES
    killed = deployment.kill("console")
    wait_for(
        lambda: [one for one in deployment.children("console") if one.pid != killed.pid], 10, "a new one"
    )
    port = int(deployment.link[2])
    wait_for(lambda: status(port, "/login") == 421, 15, "it answers again")
    assert deployment.process.poll() is None


def test_its_metrics_port_answers_any_name(deployment):
    """Whoever watches it knows no name of it: its port of metrics says that it lives and is ready, and is no page."""
    run = json.loads((deployment.data / "run.json").read_text())
    port = wait_for(
        lambda: next(
            (
                child["metrics_port"]
                for child in json.loads((deployment.data / "run.json").read_text())["children"]
                if child["name"] == "console" and child["metrics_port"]
            ),
            0,
        ),
        10,
        "its metrics port",
    )
    assert run["console_url"] == deployment.link[1]
    for path, word in (("/healthz", "ok"), ("/readyz", "ready"), ("/metrics", "tokn_console_requests_total")):
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", headers={"host": "prometheus:9464"})
        assert answer.status_code == 200
        assert word in answer.text
    assert httpx.get(f"http://127.0.0.1:{port}/login").status_code == 404


def test_a_reload_reaches_it(deployment):
    """A new public name is answered to at once, and the process is the same; another port needs a restart, and says so."""
    port, pid = int(deployment.link[2]), deployment.child("console").pid
    before = deployment.config.read_text()
    text = before.replace("[console]\n", '[console]\npublic_url = "https://console.example"\n')
    deployment.config.write_text(text)
    host = {"host": "console.example"}
    assert httpx.get(f"{deployment.link[1]}/login", headers=host).status_code == 421
    deployment.rows("reload")
    assert httpx.get(f"{deployment.link[1]}/login", headers=host).status_code == 200
    deployment.config.write_text(before.replace(f"port = {deployment.wanted}", f"port = {free_port()}"))
    told = deployment.run("reload").stdout
    assert "[console] port" in told
    assert "needs a restart of console" in told
    assert deployment.child("console").pid == pid
    assert status(port, "/login") == 421
    deployment.config.write_text(before)
    deployment.rows("reload")


def test_it_recovers_with_its_ledger(deployment):
    """While no ledger answers, a page says so and asks again; then it is what it was, for the same session."""
    with signed_in(deployment.link[1], deployment.row("console", "login")["url"]) as browser:
        ledger = deployment.child("ledger")
        ledger.suspend()
        try:
            away = browser.get("/keys")
        finally:
            ledger.resume()
        assert away.status_code == 503
        assert away.headers["refresh"]
        assert "No ledger answers" in away.text
        wait_for(lambda: browser.get("/keys").status_code == 200, 15, "the page is back")


def test_a_later_start_prints_no_secret(tmp_path):
    """Beside a terminal the link is of the first start alone: whoever keeps the output of a service keeps no key to it."""
    with ForkedWithConsole(tmp_path / "data") as tokn:
        assert tokn.link
        tokn.stop()
        tokn.start()
        wait_for(lambda: BARE.search("\n".join(tokn.lines)), 20, "the console's line")
        assert "#t=" not in "\n".join(tokn.lines)
