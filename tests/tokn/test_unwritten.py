import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.tokn import CHILDREN, StartedTokn, Tokn, wait_for

pytestmark = pytest.mark.system

BACK_S = 10.0  # on a machine that has nothing else to do
BACK_ANYWHERE_S = 60.0
DISK = "size=64m"
STREAMS = 24  # in flight when the disk is full: their bills fill what the last pages have left
WORDS = 60
SLOW = '[pools.sandbox]\nprovider = "sandbox"\nwords_per_s = 8\n'


def call(tokn: Tokn, words: str = "a", *, stream: bool = False) -> int:
    """The status of one call; 0 for none."""
    body = {
        "model": "tokn-sandbox",
        "stream": stream,
        "messages": [{"role": "user", "content": words}],
    }
    headers = {"Authorization": f"Bearer {tokn.key}"}
    try:
        return httpx.post(
            f"{tokn.url}/v1/chat/completions", headers=headers, json=body, timeout=60
        ).status_code
    except httpx.HTTPError:
        return 0


def metric(url: str, name: str) -> int:
    """The sum of a metric's samples now."""
    text = httpx.get(f"{url}/metrics", timeout=60).text
    return sum(int(float(value)) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def inflight(tokn: Tokn) -> int:
    """Calls that the edge follows now."""
    return metric(tokn.url, "tokn_edge_calls")


def unacked(tokn: Tokn) -> int:
    """Bills that are not durable yet."""
    children = json.loads((tokn.data / "run.json").read_text())["children"]
    (port,) = (child["metrics_port"] for child in children if child["name"] == "worker")
    return metric(f"http://127.0.0.1:{port}", "tokn_worker_usage_unacked")


def kill_each(tokn: Tokn) -> None:
    """Kills every child in turn; each is there again, whether the others can serve or not."""
    for name in CHILDREN:
        killed = tokn.kill(name)
        wait_for(
            lambda name=name, killed=killed: [one for one in tokn.children(name) if one.pid != killed.pid],
            BACK_ANYWHERE_S,
            f"a new {name}",
        )


# What becomes of standard error before the first line: the shell's place is taken by `tokn up`.
BROKEN = {"gone": "2> >(exit 0)", "full": "2>/dev/full", "closed": "2>&-"}


@pytest.mark.parametrize(
    "how", [name if name == "gone" else pytest.param(name, marks=pytest.mark.long) for name in BROKEN]
)
def test_no_child_is_lost_with_its_log(how, tmp_path):
    """With nobody to read the log every child comes back all the same, and a stop is as clean as ever."""

    class Unheard(StartedTokn):
        program = ("bash", "-c", f'exec "$0" "$@" {BROKEN[how]}', sys.executable, "-m", "tokn")

    with Unheard(tmp_path / "data") as tokn:
        kill_each(tokn)
        wait_for(lambda: tokn.ready() and call(tokn) == 200, BACK_ANYWHERE_S, "an answer")
        metrics = httpx.get(f"{tokn.url}/metrics", timeout=60).text
        assert "tokn_log_lines_lost_total" in metrics
        code, _ = tokn.stop()
        assert code == 0
        assert not tokn.orphans()


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Filler:
    """A file that takes all the room that a disk has left."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT)

    def fill(self) -> None:
        """Takes what is free now."""
        for size in (1 << 16, 4096, 1):
            try:
                while True:
                    os.write(self._fd, b"x" * size)
            except OSError:
                continue

    def free(self) -> None:
        """Gives everything back."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_full_disk_ends_with_its_cause(disk, killed):
    """Data and log on a disk that fills up while calls end: all is back by itself once there is room, the bus's store too.

    With every child killed meanwhile as well.
    """
    with StartedTokn(disk / "data", SLOW) as tokn:
        words = "a " * WORDS
        streams = [
            threading.Thread(target=call, args=(tokn, words), kwargs={"stream": True}) for _ in range(STREAMS)
        ]
        for one in streams:
            one.start()
        wait_for(lambda: inflight(tokn) >= STREAMS / 2, 60, "streams under way")
        filler = Filler(disk / "filler")
        filler.fill()
        wait_for(lambda: call(tokn) == 503, 60, "a refusal")
        wait_for(lambda: unacked(tokn) > 0, 60, "a bill that the bus cannot store")
        if killed:
            kill_each(tokn)
            tokn.child(
                "ledger"
            ).terminate()  # one that ends in order takes the files with it that a start needs
            filler.fill()
            wait_for(lambda: call(tokn) == 503, 60, "a refusal")
        assert tokn.process.poll() is None
        begun = time.monotonic()
        filler.free()
        wait_for(lambda: call(tokn) == 200, BACK_ANYWHERE_S, "an answer")
        back_s = time.monotonic() - begun
        for one in streams:
            one.join(60)
        wait_for(tokn.ready, BACK_ANYWHERE_S, "ready")
        wait_for(lambda: tokn.audit()["ok"], BACK_ANYWHERE_S, "books that balance")
        assert back_s < (BACK_S if killed else BACK_ANYWHERE_S)
        assert tokn.run("key", "list").returncode == 0, "the run file is there again"
