"""Owns what every request of a console stands on: the ledger, the names it answers to, the settings, the pages' templates."""

from pathlib import Path

from console.limits import Limits
from console.openid import Provider, provider_of
from console.origin import Origins
from console.pieces import Places
from console.signin import Tries
from runtime.ledger import LedgerClient
from runtime.settings.settings import Settings
from web.assets import Assets
from web.pages import Pages

_HERE = Path(__file__).parent / "pages"


def read_pages() -> Pages:
    """The templates and files of all pages."""
    return Pages(_HERE / "templates", assets=Assets(_HERE / "static"))


class Desk:
    """The parts of one console."""

    def __init__(self, settings: Settings, ledger: LedgerClient, limits: Limits, pages: Pages) -> None:
        self.ledger = ledger
        self.limits = limits
        self.origins = Origins(settings.console)
        self.places = Places(limits.exports)
        self.tries = Tries(limits.sign_ins, limits.addresses)
        self.pages = pages
        self.settings = settings
        self.provider: Provider | None = provider_of(settings.console.oidc)
        self.returns = Tries(limits.sign_ins, limits.addresses)  # from a provider

    def take(self, settings: Settings) -> None:
        """These settings hold from now on."""
        if settings.console.oidc != self.settings.console.oidc:
            self.provider = provider_of(settings.console.oidc)
        self.settings = settings
        self.origins.allow(settings.console)

    @property
    def payments(self) -> bool:
        """Whether somebody can pay here."""
        return self.settings.stripe is not None

    @property
    def base_url(self) -> str:
        """What callers set as base URL, with `/v1`."""
        settings = self.settings
        if settings.public_url:
            return f"{settings.public_url.removesuffix('/v1')}/v1"
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104  compared with, never listened on
        return f"http://{host}:{settings.port}/v1"
