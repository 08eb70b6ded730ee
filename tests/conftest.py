"""Owns which tests run when, and the deployments that tests of the whole path share."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes import collected
from tests.fakes.tokn import Tokn
from tests.fakes.upstream import Upstream, pool_toml

# How long an example takes says how busy the machine is.
settings.register_profile(
    "tokn", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", settings.get_profile("tokn"), max_examples=500)

# Of what a collection makes nothing is garbage, and looking for some is a seventh of it.
gc.disable()

ASKED_FOR = ("long", "containers", "browser")  # marked tests that run only when `-m` names their marker
ALONE = "alone"  # those that no process of several runs

# A client reads all that the system trusts when it is made, which is 40 ms of CPU and more than most tests take. Nothing
# here speaks to a stranger but the long runs, some of which install programs.
AUTHORITY = Path(__file__).parent / "fakes" / "authority.pem"


def pytest_configure(config):
    """Before any property is read, and any client made."""
    settings.load_profile("long" if _long(config) else "tokn")
    if not _long(config):
        os.environ["SSL_CERT_FILE"] = str(AUTHORITY)  # noqa: TID251  OpenSSL and httpx are told in no other way


def _long(config) -> bool:
    """Whether this is a long run."""
    return "long" in config.getoption("markexpr").replace("not long", "")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Each process of xdist reads the folders from another one on, and finds compiled what those before it have read.

    In a fresh clone this is most of a collection, which all would otherwise do at the same time.
    """
    report = yield
    given = getattr(collector.config, "workerinput", None)
    if given and isinstance(collector, pytest.Directory) and report.result:
        first = len(report.result) * int(given["workerid"].removeprefix("gw")) // given["workercount"]
        report.result = report.result[first:] + report.result[:first]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leaves out the long runs, the container tests and the browser's unless `-m` asks for them by name, and those for one process from several.

    The long run has every property again, with more examples.
    """
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path)  # the same in each process, whatever folder it read first
    if _long(config):
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker("long")
    left_out = [name for name in ASKED_FOR if name not in config.getoption("markexpr")]
    if hasattr(config, "workerinput"):
        left_out.append(ALONE)
    marks = {item: {mark.name for mark in item.iter_markers()} for item in items}
    deselected = {item for item in items if not marks[item].isdisjoint(left_out)}
    if deselected:
        config.hook.pytest_deselected(items=list(deselected))
    chosen = [item for item in items if item not in deselected]
    items[:] = _slow_first(chosen, marks, getattr(config, "workerinput", {}).get("workercount", 1))


def pytest_collection_finish():
    """Garbage is looked for from here on."""
    gc.enable()


def _slow_first(
    items: list[pytest.Item], marks: dict[pytest.Item, set[str]], processes: int
) -> list[pytest.Item]:
    """The tests in as many shares as xdist deals out: half of them begin with the chaos tests, the others with the system's.

    They take longest: one that is begun last ends the run alone. Those of chaos wait for most of their time, so half
    of the processes leave cores to the others. The tests of a module stay together, and share what it starts; what is
    left for the end, and for whoever has nothing else to do, takes milliseconds.
    """
    waiting = max(processes // 2, 1)  # so many begin with chaos
    working = max(processes - waiting, 1)
    chaos = [item for item in items if "chaos" in marks[item]]
    system: dict[object, list[pytest.Item]] = {}
    rest: list[pytest.Item] = []
    for item in items:
        if "chaos" not in marks[item]:
            known = "system" in marks[item]
            (system.setdefault(item.path, []) if known else rest).append(item)
    modules = sorted(system.values(), key=len, reverse=True)
    ordered: list[pytest.Item] = []
    for number in range(processes):
        size = (len(items) - len(ordered)) // (processes - number)
        own = chaos[number::waiting] if number < waiting else []
        if number >= processes - working:
            own = own + [
                item for module in modules[(number - waiting) % working :: working] for item in module
            ]
        others = max(size - len(own), 0)
        ordered += own + rest[:others]
        del rest[:others]
    return ordered + rest


@pytest.fixture(scope="module", autouse=True)
def _let_go() -> Iterator[None]:
    """What a module leaves open is told of before the next one begins: otherwise some later test fails in its place."""
    gc.freeze()  # what is older stays out of every collection, which would look through it again and again
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def _collected(request) -> Iterator[None]:
    """No charge is beyond its hold, unless the test is marked `uncollected("why")`."""
    marker = request.node.get_closest_marker(collected.MARKER)
    assert marker is None or marker.args, "the mark says why something stays uncollected"
    collected.begin(marked=marker is not None)
    yield
    collected.end()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """An upstream for the tests of one module."""
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory) -> Iterator[Tokn]:
    """A real `tokn up` for the tests of one module, with one pool on the scripted upstream."""
    folder = tmp_path_factory.mktemp("tokn") / "data"
    with Tokn(folder, pool_toml(upstream.base_url)) as running:
        yield running
        code, _ = running.stop()
        assert code == 0
        assert not running.orphans()
