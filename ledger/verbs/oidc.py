"""Owns how a sign-in by an OpenID provider begins at a ledger: with a nonce of its own."""

from ledger.verbs.base import Read, Services
from schemas.admin import oidc as verbs
from schemas.admin.oidc import OidcBegin
from schemas.verbs.base import Rows


async def _begin(services: Services, request: OidcBegin) -> Rows:
    return services.signing.nonce(services.committer.secret, request.binding, services.store.now_ms())


OIDC_BEGIN = Read(verb=verbs.OIDC_BEGIN, answer=_begin)
