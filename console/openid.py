"""Owns a console's side of an OpenID provider: where a browser is sent, and what its code is exchanged for.

A console verifies nothing: the ID token goes to a ledger as it came. Authlib is an extra, and loaded where a provider is
configured.
"""

import secrets
from typing import Final
from urllib.parse import quote_plus

import msgspec
from msgspec import Struct

from runtime.fetch import FetchError, Tls, fetch, system_tls
from runtime.log import get_logger
from runtime.openid import TIMEOUT_S, Kept, Metadata, ProviderError, discovered
from runtime.settings.oidc import OPENID, OidcSettings
from schemas.admin.oidc import derived

CODE_CHARS_MAX: Final = 2_048
ANSWER_BYTES_MAX: Final = 256 * 1024
_logger = get_logger("console.openid")


class _Tokens(Struct):
    """The part of a token answer that is used: what the browser's owner may do at the provider is nobody's affair here."""

    id_token: str


_decode = msgspec.json.Decoder(_Tokens).decode


class Going(Struct, frozen=True):
    """One sign-in of one browser, which all follows from its secret: what it is known by, and what nobody else can show."""

    secret: str

    @property
    def state(self) -> str:
        """What the provider sends back as it came."""
        return derived(self.secret, "state").hex()

    @property
    def verifier(self) -> str:
        """What the code is worth nothing without: 64 characters."""
        return derived(self.secret, "verifier").hex()

    @property
    def binding(self) -> bytes:
        """What the ledger binds its nonce to."""
        return derived(self.secret, "binding")

    def is_state(self, told: str) -> bool:
        """Whether a provider's answer is to this sign-in."""
        return bool(self.secret) and secrets.compare_digest(self.state.encode(), told.encode())


class Provider:
    """One provider, as a console speaks to it."""

    def __init__(self, settings: OidcSettings, tls: Tls = system_tls) -> None:
        self._settings = settings
        self._tls = tls
        self._metadata = Kept(lambda: discovered(settings.issuer, tls))

    @property
    def name(self) -> str:
        """What people know it by."""
        return self._settings.name

    async def begin(self, going: Going, nonce: str, back: str) -> str:
        """Where a browser is sent, which comes back to an address of this console. Raises ProviderError."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri  # noqa: PLC0415  an extra
        from authlib.oauth2.rfc7636 import create_s256_code_challenge  # noqa: PLC0415  as above

        metadata = await self._metadata.get()
        return str(
            prepare_grant_uri(
                metadata.authorization_endpoint,
                self._settings.client_id,
                "code",
                redirect_uri=back,
                scope=" ".join((OPENID, *self._settings.scopes)),
                state=going.state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(going.verifier),
                code_challenge_method="S256",
            )
        )

    async def id_token(self, going: Going, code: str, issuer: str | None, back: str) -> str:
        """The ID token of a code. `issuer` is who says to have answered, None for nobody's word. Raises ProviderError."""
        metadata = await self._metadata.get()
        if issuer != metadata.issuer and (
            issuer is not None or metadata.authorization_response_iss_parameter_supported
        ):
            raise ProviderError("another provider has answered than the one that was asked: begin again")
        if not 0 < len(code) <= CODE_CHARS_MAX:
            raise ProviderError("the provider has sent no code: begin again")
        headers, form = self._request(going, code, back, metadata)
        try:
            answer = await fetch(
                metadata.token_endpoint,
                bytes_max=ANSWER_BYTES_MAX,
                timeout_s=TIMEOUT_S,
                tls=self._tls,
                headers=headers,
                form=form,
            )
            if answer.status != 200:
                _logger.warning("a provider takes no code", status=answer.status, said=_error(answer.body))
                raise ProviderError("the provider does not take its own code: begin again")
            return _decode(answer.body).id_token
        except FetchError as error:
            raise ProviderError(f"the provider cannot be asked: {error}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ProviderError("the provider has sent no ID token") from None

    def _request(
        self, going: Going, code: str, back: str, metadata: Metadata
    ) -> tuple[dict[str, str], bytes]:
        from authlib.oauth2.auth import ClientAuth  # noqa: PLC0415  an extra
        from authlib.oauth2.rfc6749.parameters import prepare_token_request  # noqa: PLC0415  as above

        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=back, code_verifier=going.verifier
        )
        own, methods = self._settings, metadata.token_endpoint_auth_methods_supported
        if "client_secret_basic" in methods or "client_secret_post" not in methods:
            # As forms write them: Authlib leaves that to whoever has a colon in a name.
            client = ClientAuth(quote_plus(own.client_id), quote_plus(own.client_secret))
        else:
            client = ClientAuth(own.client_id, own.client_secret, "client_secret_post")
        _, headers, form = client.prepare("POST", metadata.token_endpoint, {}, body)
        return headers, form.encode()


def _error(body: bytes) -> str:
    """The word for why a provider refuses a code, which has nothing secret."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    word = told.get("error") if isinstance(told, dict) else ""
    return word[:64] if isinstance(word, str) else ""


def provider_of(settings: OidcSettings | None) -> Provider | None:
    """The provider of some settings, None without one."""
    return None if settings is None else Provider(settings)
