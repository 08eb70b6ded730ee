"""Books know their pepper: another one is refused before any key is."""

import pytest

from ledger.commits.pepper import Peppers
from ledger.commits.pepper import check_pepper as check
from ledger.store.base import Store
from runtime.settings.settings import SettingsError


async def check_pepper(store: Store, *peppers: bytes) -> None:
    """The look of a ledger that starts with these."""
    await check(store, Peppers(peppers))


async def test_books_keep_to_one_pepper(store: Store) -> None:
    """The first ledger's pepper stays theirs; another is refused in one line that does not say it, and changes nothing."""
    await check_pepper(store, b"first")
    await check_pepper(store, b"first")
    for other in (b"second", b"", b"first "):
        with pytest.raises(SettingsError, match=r"another one: restore the pepper") as refused:
            await check_pepper(store, other)
        assert "second" not in str(refused.value)
    await check_pepper(store, b"first")
    ((digest,),) = await store.fetch("SELECT digest FROM peppers")
    assert "first" not in digest


async def test_a_pepper_that_is_lost_can_be_given_up(store: Store) -> None:
    """Once its row is removed by hand, the next ledger's pepper is theirs."""
    await check_pepper(store, b"lost")
    async with store.write() as tx:
        await tx.execute("DELETE FROM peppers")
    await check_pepper(store, b"new")
    with pytest.raises(SettingsError):
        await check_pepper(store, b"lost")
