"""Owns which tests run when, and the deployments that tests of the whole path share."""

from collections.abc import Iterator

import pytest

from tests.fakes.tokn import Tokn
from tests.fakes.upstream import Upstream, pool_toml


def pytest_collection_modifyitems(config, items):
    """Leaves the long runs out unless `-m` asks for them by name."""
    if "long" in config.getoption("markexpr"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


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
