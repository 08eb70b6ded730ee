"""Owns which OpenID provider people may sign in to the console by, from `[console.oidc]`."""

from collections.abc import Callable
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from runtime.toml import Table

OPENID: Final = "openid"  # the scope that asks for an ID token at all
SCOPES: Final = ("profile", "email")
URL_CHARS_MAX: Final = 2_048
SCOPES_MAX: Final = 20
_PACKAGES: Final = ("authlib", "joserfc")


class OidcSettings(Struct, frozen=True, kw_only=True):
    """One provider, and what of its ID tokens says who may do what.

    `issuer` is its address as its tokens name it. `roles_claim` names the claim that has a role, `organization_claim`
    the one that has an organisation's id; without the latter everybody is of the whole deployment. `scopes` are asked
    for beside `openid`. Only a console has the `client_secret`.
    """

    issuer: str
    client_id: str
    client_secret: str = ""
    roles_claim: str
    organization_claim: str = ""
    scopes: tuple[str, ...] = SCOPES

    @property
    def name(self) -> str:
        """What people know the provider by: its host."""
        return urlsplit(self.issuer).netloc


def is_secure(url: str) -> bool:
    """Whether what is sent there crosses no network in the clear: https, or http within this machine."""
    if (
        len(url) > URL_CHARS_MAX
        or not url.isascii()
        or any(ord(sign) <= 32 or sign in '\\"<>' for sign in url)
    ):
        return False
    try:
        parts = urlsplit(url)
        bare = parts.port != 0 and parts.hostname and "@" not in parts.netloc and not parts.fragment
    except ValueError:
        return False
    if not bare or parts.hostname is None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_oidc(table: Table, resolve: Callable[[Table, str], str]) -> OidcSettings:
    """The settings of a file. Raises SettingsError."""
    issuer = table.needed("issuer")
    if not is_secure(issuer) or urlsplit(issuer).query:
        raise table.problem(
            "issuer", f'"{issuer}" is no address as "https://id.example" (http is for this machine)'
        )
    if not table.has("client_secret"):
        raise table.problem("client_secret", "is needed")
    scopes = table.texts("scopes")
    settings = OidcSettings(
        issuer=issuer,
        client_id=table.needed("client_id"),
        client_secret=resolve(table, "client_secret"),
        roles_claim=table.needed("roles_claim"),
        organization_claim=table.text("organization_claim"),
        scopes=SCOPES if scopes is None else scopes,
    )
    if len(settings.scopes) > SCOPES_MAX or any(not one or one.split() != [one] for one in settings.scopes):
        raise table.problem("scopes", f"are at most {SCOPES_MAX} words")
    table.done()
    return settings


def unsupported(settings: OidcSettings | None) -> str:
    """Why nobody can sign in by a provider here; empty if they can, or none is configured."""
    if settings is None or all(find_spec(one) is not None for one in _PACKAGES):
        return ""
    return "needs Authlib, which is not installed: pip install authlib (the extra oidc)"
