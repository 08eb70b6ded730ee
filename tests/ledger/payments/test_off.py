"""A ledger without `[billing.stripe]`: nothing of Stripe is loaded, and whoever asks is told that it is off."""

import contextlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ledger.app import payments_of
from ledger.verbs.topups import CONSOLE_TOPUP, STRIPE_EVENT, TOPUP
from runtime.settings.settings import Settings, SettingsError
from runtime.settings.stripe import StripeSettings
from schemas.admin.reasons import Reason
from tests.ledger.harness import Books

STARTED = "import sys, ledger.app, console.app; sys.exit('stripe' in sys.modules)"


def test_nothing_of_it_is_loaded() -> None:
    """Neither a ledger nor a console loads Stripe's package before it is configured."""
    assert subprocess.run([sys.executable, "-c", STARTED], check=False).returncode == 0


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_without_its_package(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured ledger without the package ends with one sentence that says what to install."""
    monkeypatch.delitem(sys.modules, "ledger.payments.client", raising=False)
    monkeypatch.setitem(sys.modules, "stripe", None)
    settings = Settings(stripe=StripeSettings(api_key="sk_test_x", webhook_secret="whsec_x"))
    async with contextlib.AsyncExitStack() as stack:
        assert payments_of(Settings(), books.writer, books.telemetry, stack) is None
        with pytest.raises(
            SettingsError, match=r"package stripe is not installed: install requirements-stripe.lock"
        ):
            payments_of(settings, books.writer, books.telemetry, stack)


async def test_whoever_asks_is_told() -> None:
    """Each verb answers that nobody can pay here."""
    for one in (TOPUP, CONSOLE_TOPUP, STRIPE_EVENT):
        answer = await one.answer(SimpleNamespace(payments=None), None)  # type: ignore[arg-type]  all that is looked at
        assert answer.reason == Reason.PAYMENTS_OFF
