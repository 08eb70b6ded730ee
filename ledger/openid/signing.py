"""Owns whether people can sign in by a provider at a ledger: what gives nonces and verifies ID tokens, where one is configured."""

from typing import TYPE_CHECKING

from ledger.openid.nonces import BINDING_BYTES, new_nonce
from ledger.rules.grants import refused
from ledger.rules.identity import Identity, Unproven
from runtime.settings.oidc import OidcSettings, unsupported
from runtime.settings.settings import Settings, SettingsError
from schemas.admin.credentials import IdToken
from schemas.admin.operators import SIGN_IN_S
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows

if TYPE_CHECKING:
    from ledger.openid.tokens import Verifier

_OFF = refused(Reason.SIGN_IN_REFUSED, "no provider is configured here: sign in by a link")


def check(settings: Settings) -> None:
    """Raises SettingsError for a provider whose tokens cannot be verified here."""
    if why := unsupported(settings.console.oidc):
        raise SettingsError(f"{settings.source}: [console.oidc]: {why}")


class Signing:
    """A ledger's side of signing in by a provider. Without one every question is refused, and nothing is loaded for it."""

    def __init__(self) -> None:
        self._settings: OidcSettings | None = None
        self._verifier: Verifier | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Signing":
        """By the provider of some settings. Raises SettingsError."""
        check(settings)
        made = cls()
        made.take(settings.console.oidc)
        return made

    def take(self, settings: OidcSettings | None) -> None:
        """Verifies by this provider from now on; None is for none."""
        if settings == self._settings:
            return
        self._settings, self._verifier = settings, None
        if settings is not None:
            from ledger.openid.tokens import Verifier  # noqa: PLC0415  its packages are an extra, and loaded where they are used

            self._verifier = Verifier(settings)

    def nonce(self, secret: bytes, binding: bytes, now_ms: int) -> Rows:
        """A nonce for a sign-in that begins."""
        if self._verifier is None:
            return _OFF
        if len(binding) != BINDING_BYTES:
            return Rows(problem="the binding is not a SHA-256")
        return Rows(({"nonce": new_nonce(secret, binding, now_ms), "lasts_s": SIGN_IN_S},))

    async def proven(self, proof: IdToken, secret: bytes, now_ms: int) -> Identity | Unproven:
        """Who has signed in."""
        if self._verifier is None:
            return Unproven(_OFF)
        found = await self._verifier.identity(proof, secret, now_ms)
        return Unproven(found) if isinstance(found, Rows) else found
