"""How many files a service may have open: as many as its machine allows, whatever it was started with."""

import resource
from collections.abc import Iterator

import pytest

from runtime import descriptors
from runtime.service import run_service
from runtime.settings.settings import Settings

LOW = 512


@pytest.fixture
def low() -> Iterator[int]:
    """A soft limit far below the hard one, which it yields."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LOW, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_every_service_raises_its_soft_limit(low):
    """A service runs with its hard limit; where descriptors are unlimited, that is a number all the same."""
    seen = []

    async def serve(stop):
        stop.set()
        seen.append(descriptors.limit())

    assert descriptors.limit() == LOW
    assert run_service("test", Settings(), serve) == 0
    assert seen == [descriptors.UNLIMITED if low == resource.RLIM_INFINITY else low]


def test_a_limit_that_cannot_be_raised_is_kept(low, monkeypatch):
    """A system that refuses the raise does not end the service."""

    def refused(*_):
        raise OSError

    monkeypatch.setattr("runtime.descriptors.resource.setrlimit", refused)
    assert descriptors.raise_limit() == LOW
    monkeypatch.undo()
