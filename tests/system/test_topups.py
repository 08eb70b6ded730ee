"""The commands for payments through Stripe, on a running gateway that is configured for a stand-in of Stripe."""

import pytest

from tests.fakes.stripe import FakeStripe
from tests.fakes.stripe_events import SECRET
from tests.fakes.tokn import CommandError, Tokn

pytestmark = pytest.mark.system

CONFIGURATION = """
[billing.stripe]
api_key = "{key}"
webhook_secret = "{secret}"
api_base = "{base}"
[pools.sandbox]
provider = "sandbox"
"""


def test_an_address_for_somebody_to_pay_at(tmp_path):
    """One is made once under its key, in JSON and for people, and listed; what cannot be is refused, and no secret is told."""
    with FakeStripe() as stripe:
        text = CONFIGURATION.format(key=stripe.key, secret=SECRET, base=stripe.base_url)
        with Tokn(tmp_path / "data", text) as gateway:
            made = gateway.row("topup", "default", "25", "--idempotency-key", "one")
            again = gateway.run("topup", "default", "25", "--idempotency-key", "one")
            assert again.stdout.strip() == made["url"]
            assert made["url"].startswith(f"http://localhost:{stripe.port}/")
            assert len(stripe.sessions) == 1
            assert gateway.row("topups", "default") == made
            shown = gateway.run("topups").stdout
            assert made["id"] in shown
            assert "25.00 USD" in shown
            assert "No top-ups yet" in gateway.run("topups", "other").stdout
            for words, why in ((("default", "0.5"), "from 1.00"), (("nobody", "5"), "no organisation")):
                with pytest.raises(CommandError, match=why):
                    gateway.row("topup", *words)
            stripe.failing = 401
            with pytest.raises(CommandError, match="not done: Stripe did not do what it was asked"):
                gateway.row("topup", "default", "25")
            assert gateway.audit()["ok"]
            assert not [line for line in gateway.lines if stripe.key in line or SECRET in line]


def test_it_is_off_unless_configured(tmp_path):
    """Without `[billing.stripe]` the command says so, and there is nothing to list."""
    with Tokn(tmp_path / "data", '[pools.sandbox]\nprovider = "sandbox"\n') as gateway:
        with pytest.raises(CommandError, match=r"this ledger has no \[billing.stripe\]"):
            gateway.row("topup", "default", "25")
        assert "No top-ups yet" in gateway.run("topups").stdout
