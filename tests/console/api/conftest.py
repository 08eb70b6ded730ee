"""Owns the fixtures of the admin API's tests: a ledger on each database, a bus, and the API before them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ledger.statements.issuing import Issuing
from tests.console.api.rig import Rig, serving
from tests.ledger.conftest import (  # noqa: F401  fixtures, which pytest finds by their names here
    clock,
    deployment,
    dialect,
    postgres,
    source,
    sqlite_template,
)
from tests.ledger.deployment import Deployment


@pytest.fixture(autouse=True)
def months_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """No errand issues a month that a test has ended: on a slow machine it would be first."""

    async def never(_issuing: Issuing) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Issuing, "run", never)


@pytest.fixture
async def rig(deployment: Deployment) -> AsyncIterator[Rig]:  # noqa: F811  as above
    """The API with one ledger."""
    await deployment.start()
    async with serving(deployment) as made:
        yield made
        await deployment.stop()
