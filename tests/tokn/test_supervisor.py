import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from runtime.settings.settings import Settings
from tests.fakes.ticks import Ticks
from tests.fakes.tokn import alive, wait_for
from tokn import supervisor as supervising
from tokn.child import Program
from tokn.handing import handed
from tokn.settings import plain_environment
from tokn.supervisor import Supervisor


def program(code: str, name: str = "child", *, stop_s: float = 5.0, **more) -> Program:
    """A child that runs some Python."""
    return Program(
        name=name,
        arguments=(sys.executable, "-c", code),
        environment=plain_environment(),
        stop_s=stop_s,
        **more,
    )


@pytest.fixture
async def supervisor():
    """A supervisor whose children are ended after the test."""
    lock_fd = os.open(os.devnull, os.O_RDONLY)
    running = Supervisor(lock_fd, lambda: None)
    yield running
    for name in list(running.children):
        await running.stop(name)
    os.close(lock_fd)


async def until(condition, within_s: float = 60.0):
    """Waits for a condition, asked every 10 ms."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


SLEEP = "import signal; signal.pause()"


async def test_killed_child_comes_back(supervisor):
    """A child that is killed is started again, each time."""
    await supervisor.start(program(SLEEP))
    for _ in range(3):
        pid = supervisor.children["child"].pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: supervisor.children["child"].pid != pid)
    assert not supervisor.ended.is_set()


async def test_pauses_before_restarts_grow_to_a_bound(supervisor, monkeypatch):
    """A child that fails at once is started again after pauses that double up to the bound."""
    monkeypatch.setattr(supervising, "PAUSE_MIN_S", 0.01)
    monkeypatch.setattr(supervising, "PAUSE_MAX_S", 0.04)
    pauses: list[float] = []
    monkeypatch.setattr(
        supervising._logger, "warning", lambda _event, **fields: pauses.append(fields["pause_s"])
    )
    await supervisor.start(program("raise SystemExit(1)"))
    await until(lambda: len(pauses) >= 5)
    assert pauses[:5] == [0.01, 0.02, 0.04, 0.04, 0.04]


async def test_configuration_error_ends_everything(supervisor):
    """Exit code 3 of a child is not restarted: it is the exit code of all."""
    await supervisor.start(program("raise SystemExit(3)"))
    await asyncio.wait_for(supervisor.ended.wait(), 30)
    assert supervisor.exit_code == 3


async def test_keeper_that_fails_ends_everything_with_a_code(supervisor):
    """Without its keeper a child would never come back: whatever ends one ends all, and the code says that it failed."""
    told: list[int] = []

    def change():
        told.append(1)
        if len(told) > 1:
            raise ValueError("broken")

    supervisor._on_change = change
    await supervisor.start(program("raise SystemExit(1)"))
    await asyncio.wait_for(supervisor.ended.wait(), 30)
    assert supervisor.exit_code == 1
    await asyncio.wait_for(supervisor.stop("child"), 10)
    assert not supervisor.children


async def test_child_that_cannot_be_started_is_tried_again(supervisor, monkeypatch):
    """A start that fails for any reason of the system, before or after the fork, is followed by another."""
    monkeypatch.setattr(supervising, "PAUSE_MAX_S", 0.01)
    await supervisor.start(program(SLEEP))
    killed = supervisor.children["child"].pid
    problems = [OSError(24, "too many files"), subprocess.SubprocessError("in preexec_fn")]
    start = supervising.Child.start

    async def fail_first(*arguments):
        if problems:
            raise problems.pop()
        return await start(*arguments)

    monkeypatch.setattr(supervising.Child, "start", fail_first)
    os.kill(killed, signal.SIGKILL)
    await until(lambda: supervisor.children["child"].pid != killed)
    assert not problems
    assert not supervisor.ended.is_set()


async def test_child_that_ignores_sigterm_is_killed(supervisor, tmp_path):
    """A child that does not end in its time is killed; a frozen one is woken to end."""
    ready = tmp_path / "ready"
    stubborn = (
        f"import signal, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(ready)!r}).write_text('x'); signal.pause()"
    )
    await supervisor.start(program(stubborn, stop_s=0.3))
    await until(ready.exists)
    process = psutil.Process(supervisor.children["child"].pid)
    await supervisor.stop("child")
    assert not alive(process)
    await supervisor.start(program(SLEEP, "frozen"))
    process = psutil.Process(supervisor.children["frozen"].pid)
    process.suspend()
    waited = Ticks()
    await supervisor.stop("frozen")
    assert not alive(process)
    assert waited.s < 2


async def test_stopped_child_stays_down(supervisor):
    """A stop in the pause before a restart is a stop."""
    await supervisor.start(program("raise SystemExit(1)"))
    await asyncio.sleep(0.2)
    await asyncio.wait_for(supervisor.stop("child"), 5)
    assert not supervisor.children


async def test_child_is_handed_its_settings_and_announces_its_port(supervisor):
    """Settings go in on standard input, of any size, and the metrics port comes back on standard output."""
    code = (
        "import json, os, signal; from tokn.handing import first; generation, settings = first(0);"
        "n = len(settings.public_url) if generation == 7 else 1;"
        "print(json.dumps({'metrics_port': n}), flush=True); signal.pause()"
    )
    changed: list[int] = []
    supervisor._on_change = lambda: changed.append(1)
    await supervisor.start(program(code, settings=handed(7, Settings(public_url="x" * 500_000))))
    await until(lambda: supervisor.children["child"].metrics_port == 500_000)
    assert len(changed) == 2


async def test_child_has_a_session_of_its_own(supervisor):
    """The terminal's Ctrl-C does not reach children: tokn up alone decides their order."""
    await supervisor.start(program(SLEEP))
    pid = supervisor.children["child"].pid
    assert os.getsid(pid) == pid


PARENT = """
import asyncio, os, sys
from tokn.child import Program
from tokn.supervisor import Supervisor
async def main():
    supervisor = Supervisor(os.open(os.devnull, os.O_RDONLY), lambda: None)
    for name in ("a", "b", "c"):
        await supervisor.start(Program(name=name, arguments=(sys.executable, "-c", "import signal; signal.pause()"),
            environment=dict(os.environ), stop_s=5))
    print(*[child.pid for child in supervisor.children.values()], flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_children_of_a_killed_parent_end():
    """A kill -9 of the parent leaves no child behind."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(children) == 3
    parent.kill()
    parent.wait(5)
    parent.stdout.close()
    wait_for(lambda: not any(alive(child) for child in children), 20, "the end of the children")


async def test_who_others_can_do_without_ends_none_of_them(supervisor, tmp_path):
    """A child whose configuration is wrong, or whose port is taken, ends all; one that is not vital is started again alone."""
    mark = tmp_path / "again"
    code = (
        f"import pathlib, signal, sys; path = pathlib.Path({str(mark)!r}); known = path.exists(); path.touch(); "
        "known and signal.pause(); sys.exit(3)"
    )
    await supervisor.start(program(code, "spare", vital=False))
    first = supervisor.children["spare"].pid
    while supervisor.children["spare"].pid == first:
        await asyncio.sleep(0.01)
    assert not supervisor.ended.is_set()
    assert supervisor.exit_code == 0
    await supervisor.start(program("import sys; sys.exit(3)", "vital"))
    async with asyncio.timeout(10):
        await supervisor.ended.wait()
    assert supervisor.exit_code == 3
