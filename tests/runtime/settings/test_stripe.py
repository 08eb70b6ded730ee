"""How payments through Stripe are configured: off unless they are, and whose the secrets are."""

from pathlib import Path

import pytest

from runtime.settings.settings import Settings, SettingsError, encode, load, redacted
from runtime.settings.stripe import StripeSettings
from schemas.bus.subjects import Role


def _read(folder: Path, text: str) -> Settings:
    path = folder / "tokn.toml"
    path.write_text(text)
    return load(path, credentials=False, environment={"STRIPE_KEY": "sk_test_canary"})


STRIPE = '[billing.stripe]\napi_key = "env:STRIPE_KEY"\nwebhook_secret = "whsec_canary"\n'


def test_stripe_is_off_unless_configured(tmp_path):
    """Without its table there is none of it; with it, the secrets are a ledger's alone, and others know that it is on."""
    assert _read(tmp_path, "").stripe is None
    path = tmp_path / "tokn.toml"
    path.write_text(STRIPE)
    settings = load(path, credentials=False, environment={"STRIPE_KEY": "sk_test_canary"})
    assert settings.stripe == StripeSettings(api_key="sk_test_canary", webhook_secret="whsec_canary")
    assert not settings.stripe.live
    console = redacted(settings, (Role.CONSOLE,), credentials=False, pepper=False)
    assert console.stripe == StripeSettings()
    assert b"canary" not in encode(console)
    assert b"sk_test_canary" in encode(redacted(settings, (Role.LEDGER,), credentials=False, pepper=True))
    alone = load(path, credentials=False, books=False, environment={})
    assert alone.stripe == StripeSettings()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[billing.stripe]\n", "api_key: must be a secret or restricted key"),
        (STRIPE.replace("env:STRIPE_KEY", "pk_live_x"), "api_key: must be"),
        (STRIPE.replace("env:STRIPE_KEY", "rk_live_x").replace("whsec_", ""), "webhook_secret: must be"),
        (STRIPE.replace("env:STRIPE_KEY", "sk_x"), "api_key: must be"),
        (
            STRIPE.replace("env:STRIPE_KEY", "sk_live_x") + 'api_base = "http://example.com"\n',
            "api_base: must be",
        ),
        (STRIPE.replace("env:STRIPE_KEY", "sk_live_x") + "currency = 1\n", "currency"),
    ],
)
def test_stripe_settings_that_cannot_be(tmp_path, text, why):
    """A key of another kind, an address in the clear, or an unknown word is named, without the secret."""
    with pytest.raises(SettingsError, match=why) as error:
        _read(tmp_path, text)
    assert "canary" not in str(error.value)
