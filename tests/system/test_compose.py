import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.ports import free_port
from tests.fakes.tokn import wait_for

ROOT = Path(__file__).resolve().parents[2]
KEY = re.compile(r"tokn_[0-9A-Za-z]{38}")
BODY = {"model": "tokn-sandbox", "max_tokens": 16, "messages": [{"role": "user", "content": "Hello"}]}
CALLS = 200
SERVICES = 10  # nats, postgres, ledger, edge, console, and five workers
CALLERS = 8
UP_S = 180.0

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]


class Compose:
    """The project's own compose file, with images built from local files, under a name of its own."""

    def __init__(self, name: str, port: int) -> None:
        base = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
        self._command = [*base, "-f", str(ROOT / "compose.yaml"), "-p", name]
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {
            **os.environ,  # noqa: TID251  the engine's address and PATH
            "TOKN_IMAGE": "tokn",
            "POSTGRES_IMAGE": "tokn-test/postgres",
            "PYTHON_IMAGE": "tokn-test/python:3.11",
            "TOKN_PUBLISH": f"127.0.0.1:{port}",
        }

    def __call__(self, *arguments: str) -> str:
        """What a compose command prints. Raises CalledProcessError."""
        done = subprocess.run(
            [*self._command, *arguments],
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=UP_S,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def inspect(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of each container that runs, by name."""
        ids = self("ps", "-q").split()
        done = subprocess.run(["docker", "inspect", *ids], check=True, capture_output=True, text=True)
        return {one["Name"]: one for one in json.loads(done.stdout) if one["State"]["Running"]}

    def healthy(self) -> bool:
        """Whether every container that is to stay runs, and its own health check passes."""
        states = [one["State"].get("Health", {}).get("Status") for one in self.inspect().values()]
        return len(states) >= SERVICES and set(states) == {"healthy"}

    def tokn(self, *arguments: str) -> str:
        """What a `tokn` command prints, run in a container of its own with the command's credentials."""
        config = ("--config", "/etc/tokn/tokn.toml")
        return self(
            "run", "--rm", "-T", "--no-deps", "--entrypoint", "tokn", "first-key", *arguments, *config
        )


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    """Everything up, as a new user would have it."""
    project = Compose(f"tokntest{free_port()}", free_port())
    try:
        project("up", "-d", "--no-build")
        yield project
    finally:
        project("down", "-v", "-t", "5")


def printed_key(compose: Compose) -> str:
    """The key that the first start prints to the log of `first-key`."""
    return wait_for(
        lambda: (found := KEY.search(compose("logs", "--no-color", "first-key"))) and found[0],
        UP_S,
        "a printed key",
    )


def call(url: str, key: str) -> int:
    """The status of one paid call."""
    headers = {"Authorization": f"Bearer {key}"}
    try:
        return httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=headers, timeout=30).status_code
    except httpx.TransportError:
        return 0


def balance_nano(compose: Compose) -> tuple[str, int]:
    """The first key's id, and what its calls have left of it once nothing is held."""
    (key,) = [json.loads(line) for line in compose.tokn("key", "list", "--json").splitlines()]

    def rested() -> dict[str, int] | None:
        balance: dict[str, int] = json.loads(compose.tokn("balance", key["id"], "--json"))
        return balance if balance["held_nano"] == 0 else None

    return key["id"], wait_for(rested, 90, "every hold closed")["posted_nano"]


def test_every_service_is_healthy_and_nobody_is_root(compose: Compose) -> None:
    """Each container that stays has a health check that passes, and neither its image nor its processes are root's."""
    wait_for(compose.healthy, UP_S, "every service is healthy")
    running = compose.inspect()
    assert len(running) == SERVICES
    for name, one in running.items():
        assert one["Config"]["User"] not in {"", "0", "root"}, name
        listed = ["docker", "top", one["Id"], "-eo", "pid,uid"]
        lines = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines()[1:]
        uids = [line.split()[1] for line in lines]
        assert uids, name
        assert "0" not in uids, name


def test_compose_serves_scales_and_survives_a_ledgers_death(compose: Compose) -> None:
    """Up, a printed key and a paid call; three workers and two ledgers; one ledger killed under load: the books balance."""
    key = printed_key(compose)
    wait_for(lambda: call(compose.url, key) == 200, UP_S, "a first paid call")
    before = json.loads(compose.tokn("key", "list", "--json").splitlines()[0])

    more = {"worker-sandbox": 3, "worker-openai": 3, "ledger": 2}
    scale = [word for name, count in more.items() for word in ("--scale", f"{name}={count}")]
    compose("up", "-d", "--no-build", *scale)
    for name, count in more.items():
        assert len(compose("ps", "-q", name).split()) == count
    ledgers = compose("ps", "-q", "ledger").split()
    quarter = threading.Event()
    done = 0

    def one(index: int) -> int:
        nonlocal done
        status = call(compose.url, key)
        done += 1
        if done >= CALLS // 4:
            quarter.set()
        return status

    with ThreadPoolExecutor(CALLERS) as pool:
        running = pool.map(one, range(CALLS))
        assert quarter.wait(60)
        subprocess.run(["docker", "kill", "-s", "KILL", ledgers[0]], check=True, capture_output=True)
        statuses = list(running)
    served = statuses.count(200)
    assert served >= CALLS * 9 // 10
    assert set(statuses) <= {200, 503}

    def settled() -> bool:
        balance = json.loads(compose.tokn("balance", before["id"], "--json"))
        return bool(balance["held_nano"] == 0)

    wait_for(settled, 90, "every hold closed")
    audit = json.loads(compose.tokn("audit", "--json"))
    assert audit["ok"], audit
    assert audit["open_holds"] == 0
    rows = [json.loads(line) for line in compose.tokn("usage", "--limit", "1000", "--json").splitlines()]
    billed = [row for row in rows if row["billed_nano"] > 0]
    assert len({row["request_id"] for row in billed}) == len(billed)
    after = json.loads(compose.tokn("balance", before["id"], "--json"))
    assert after["posted_nano"] == 5_000_000_000 - sum(row["billed_nano"] for row in rows)
    assert len(billed) >= served + 1


def test_key_and_balance_stay_over_a_restart(compose: Compose) -> None:
    """Everything removed but the volumes, and up again: the same key and balance, no second key, and calls are served."""
    key = printed_key(compose)
    wait_for(lambda: call(compose.url, key) == 200, UP_S, "a paid call")
    before = balance_nano(compose)
    compose("down", "-t", "10")
    compose("up", "-d", "--no-build")
    wait_for(compose.healthy, UP_S, "every service is healthy")
    assert balance_nano(compose) == before
    wait_for(lambda: call(compose.url, key) == 200, UP_S, "a paid call after the restart")
    wait_for(lambda: balance_nano(compose)[1] < before[1], 60, "a bill after the restart")
    assert json.loads(compose.tokn("audit", "--json"))["ok"]
    assert not KEY.search(compose("logs", "--no-color", "first-key"))
