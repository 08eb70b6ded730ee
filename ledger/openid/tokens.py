"""Owns what an ID token has to be before it signs anybody in: whose, for whom, of when, and for which nonce."""

from typing import Any, Final

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError

from ledger.openid.claims import identity_of
from ledger.openid.keys import Keys
from ledger.openid.nonces import Given, given
from ledger.rules.grants import refused
from ledger.rules.identity import Identity
from runtime.fetch import Tls, system_tls
from runtime.log import get_logger
from runtime.openid import ProviderError
from runtime.settings.oidc import OidcSettings
from schemas.admin.credentials import IdToken
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "RS384", "PS384", "ES384", "RS512", "PS512", "ES512")
TOKEN_CHARS_MAX: Final = 32 * 1024
SUBJECT_CHARS_MAX: Final = 255  # as the standard has it
LEEWAY_S: Final = 30  # between the provider's clock and that of the books
_INVALID: Final = "the provider's answer does not prove who you are: begin again"
_logger = get_logger("ledger.openid")


class InvalidTokenError(Exception):
    """An ID token proves nothing, and what about it: for the log, without its values."""


class Verifier:
    """Verifies the ID tokens of one provider."""

    def __init__(self, settings: OidcSettings, tls: Tls = system_tls) -> None:
        self._settings = settings
        self._keys = Keys(settings.issuer, tls)

    async def identity(self, proof: IdToken, secret: bytes, now_ms: int) -> Identity | Rows:
        """Who has signed in, by a nonce that was made with the secret; else the refusal."""
        try:
            claims = await self._claims(proof, now_ms // 1000)
            nonce = _nonce(claims, given(secret, proof.binding, claims.get("nonce"), now_ms))
        except InvalidTokenError as error:
            _logger.warning("an ID token was refused", issuer=self._settings.issuer, why=str(error))
            return refused(Reason.INVALID_ID_TOKEN, _INVALID)
        except ProviderError as error:
            _logger.warning("an ID token cannot be verified", issuer=self._settings.issuer, why=str(error))
            return refused(Reason.INVALID_ID_TOKEN, f"{error}: try again, or sign in by a link")
        return identity_of(claims, self._settings, nonce=nonce.id, nonce_ends_ms=nonce.ends_ms)

    async def _claims(self, proof: IdToken, now_s: int) -> dict[str, Any]:
        """What a token says, once its signature and its standard claims are right. Raises InvalidTokenError, ProviderError."""
        if len(proof.token) > TOKEN_CHARS_MAX or not proof.token.isascii():
            raise InvalidTokenError("it is too long, or no token")
        try:
            header = jws.extract_compact(proof.token.encode()).headers()
        except (JoseError, ValueError):
            raise InvalidTokenError("it is no signed token") from None
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise InvalidTokenError("it is not signed as a provider signs")
        for key in await self._keys.find(header.get("kid")):
            try:
                claims = jwt.decode(proof.token, key, algorithms=[algorithm]).claims
            except (JoseError, ValueError, TypeError):
                continue
            self._check(claims, header, now_s)
            return claims
        raise InvalidTokenError("no key of the provider has signed it")

    def _check(self, claims: dict[str, Any], header: dict[str, Any], now_s: int) -> None:
        """Raises InvalidTokenError."""
        settings = self._settings
        token = CodeIDToken(
            claims,
            header,
            {
                "iss": {"essential": True, "value": settings.issuer},
                "aud": {"essential": True, "value": settings.client_id},
            },
            {"client_id": settings.client_id},
        )
        try:
            token.validate(now_s, LEEWAY_S)
        except (JoseError, TypeError, ValueError) as error:
            raise InvalidTokenError(f"a claim is wrong: {getattr(error, 'claim', '') or error}") from None
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != settings.client_id:
            raise InvalidTokenError("it is for several, and was not issued to us")
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_CHARS_MAX or "\x00" in subject:
            raise InvalidTokenError("its subject cannot stand")


def _nonce(claims: dict[str, Any], nonce: Given | None) -> Given:
    """The nonce of a token that was made for it. Raises InvalidTokenError."""
    if nonce is None:
        raise InvalidTokenError("its nonce was not given for this sign-in, or too long ago")
    if claims["iat"] < nonce.given_ms // 1000 - LEEWAY_S:
        raise InvalidTokenError("it is older than its nonce")
    return nonce
