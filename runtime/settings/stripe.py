"""Owns how top-ups are paid through Stripe, from `[billing.stripe]`; without that table nothing of it is there."""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from runtime.settings.console import is_loopback
from runtime.toml import Table

API_BASE: Final = "https://api.stripe.com"
KEY_BEGINNINGS: Final = ("sk_live_", "rk_live_", "sk_test_", "rk_test_")
SECRET_BEGINNING: Final = "whsec_"  # noqa: S105  how each begins, and no more


class StripeSettings(Struct, frozen=True, kw_only=True):
    """The account that is paid. Both secrets are the ledger's alone: every other service has them empty."""

    api_key: str = ""
    webhook_secret: str = ""
    api_base: str = API_BASE

    @property
    def live(self) -> bool:
        """Whether real money moves."""
        return "_live_" in self.api_key


def read_stripe(
    billing: Table, resolve: Callable[[Table, str], str], *, secrets: bool
) -> StripeSettings | None:
    """The table of a file; None if it has none. Without `secrets` they are passed over. Raises SettingsError."""
    if not billing.has("stripe"):
        return None
    table = billing.table("stripe")
    api_key, webhook_secret = resolve(table, "api_key"), resolve(table, "webhook_secret")
    api_base = table.text("api_base", API_BASE).rstrip("/")
    if secrets and not api_key.startswith(KEY_BEGINNINGS):
        raise table.problem("api_key", f"must be a secret or restricted key: {', '.join(KEY_BEGINNINGS)}…")
    if secrets and not webhook_secret.startswith(SECRET_BEGINNING):
        raise table.problem("webhook_secret", f"must be the endpoint's signing secret: {SECRET_BEGINNING}…")
    parts = urlsplit(api_base)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise table.problem("api_base", "must be an https address, or one of this machine")
    table.done()
    return StripeSettings(api_key=api_key, webhook_secret=webhook_secret, api_base=api_base)


def without_secrets(stripe: StripeSettings | None) -> StripeSettings | None:
    """What services but the ledger know: that top-ups can be paid."""
    return None if stripe is None else StripeSettings(api_base=stripe.api_base)
