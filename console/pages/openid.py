"""Owns the way to an OpenID provider and back: a browser leaves with a nonce of a ledger's, and returns into a session.

No form leads to another origin: the pages' policy forbids it, and a browser asks that of where a form is sent on to as
well. So a form ends on a page that goes on by itself. The way back is another site's doing, and neither it nor whatever
it is sent on to has the session's cookie: so that ends on such a page, too.
"""

from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from console import telemetry
from console.asking import Asker, RefusedError
from console.desk import Desk
from console.openid import Going, Provider
from console.pages import login
from console.pages.visit import page, sentence
from console.signin import Cookies, fresh_secret, is_form_token
from runtime.ledger import Patience
from runtime.openid import ProviderError
from schemas.admin.credentials import IdToken, digest
from schemas.admin.operators import SignIn
from schemas.bus.subjects import new_id
from schemas.verbs.base import VERSION

PATH: Final = "/login/oidc"
WHERE_CHARS_MAX: Final = 1_024  # of an address of ours that is kept meanwhile
_DENIED: Final = "access_denied"


class Way(Struct, frozen=True, kw_only=True):
    """One request on the way to the provider, or back."""

    request: Request
    desk: Desk
    provider: Provider
    asker: Asker
    cookies: Cookies

    async def answer(self, fields: dict[str, str]) -> Response:
        """The way there is a form, the way back an address that the provider sends a browser to."""
        if self.request.method == "POST":
            return await self._begin(fields)
        if self.request.method == "GET" and self.request.url.query:
            response = await self._back()
            self.cookies.back(response)
            return response
        return login.form(self.request, self.desk, self.cookies, "/")

    async def _begin(self, fields: dict[str, str]) -> Response:
        desk, cookies, provider = self.desk, self.cookies, self.provider
        following = login.going(fields.get("next", "/"))
        if not is_form_token(cookies.stranger(self.request), fields.get("csrf", "")):
            telemetry.REFUSED.add(("token",))
            return self._refused(following, "the page was open for too long: try again", 403)
        if not desk.tries.taken(desk.origins.address(self.request)):
            return self._too_often(following)
        going = Going(fresh_secret())
        try:
            nonce = await self.asker.nonce(going.binding)
            where = await provider.begin(going, nonce, self._address)
        except (RefusedError, ProviderError) as error:
            return self._failed(following, str(error), 502)
        if cookies.session(self.request):
            await login.end(self.asker)  # on the way back it would not be known
        response = self._onward(f"On the way to {provider.name}", where, f"Go on to {provider.name}")
        cookies.sign_out(response)
        cookies.send(response, going.secret, following if len(following) <= WHERE_CHARS_MAX else "/")
        return response

    async def _back(self) -> Response:
        desk, name, told = self.desk, self.provider.name, self.request.query_params
        secret, where = self.cookies.going(self.request)
        following, going = login.going(where), Going(secret)
        if not going.is_state(told.get("state", "")):
            why = "this sign-in was not begun in this browser, was used, or is too old: begin again"
            return self._failed(following, why, 403)
        if not desk.returns.taken(desk.origins.address(self.request)):
            return self._too_often(following)
        if "error" in told:
            denied = told["error"] == _DENIED
            why = (
                f"{name} {'did not let you in' if denied else 'has failed'}: try again, or sign in by a link"
            )
            return self._failed(following, why, 403 if denied else 502)
        session = fresh_secret()
        try:
            token = await self.provider.id_token(going, told.get("code", ""), told.get("iss"), self._address)
            await self._sign_in(IdToken(token, going.binding), session)
        except ProviderError as error:
            return self._failed(following, str(error), 502)
        except RefusedError as error:
            return self._failed(following, error.sentence, error.status)
        response = self._onward("You are signed in", following, "Go on")
        self.cookies.sign_in(response, session)
        return response

    async def _sign_in(self, proof: IdToken, session: str) -> None:
        """Has a ledger begin a session. Raises RefusedError, LedgerAwayError."""
        limits = self.desk.limits
        await self.asker.by(proof).act(
            "sign_in_oidc",
            SignIn(VERSION, digest(session)),
            new_id("idem_"),
            patience=Patience(
                total_s=limits.proof_s, try_s=limits.proof_s / 2, pause_s=limits.ledger_pause_s
            ),
        )

    @property
    def _address(self) -> str:
        """Where the provider sends a browser back to: the very address is registered there."""
        return f"{self.desk.origins.own(self.request)}{PATH}"

    def _onward(self, what: str, where: str, link: str) -> Response:
        """A page that goes on by itself, and has a link for whoever's browser does not."""
        response = page(self.desk, "onward.html", path=PATH, what=what, where=where, link=link)
        response.headers["refresh"] = f"0;url={where}"
        return response

    def _too_often(self, following: str) -> Response:
        telemetry.REFUSED.add(("tries",))
        why = f"more than {self.desk.limits.sign_ins} tries in a minute: wait a minute, then try again"
        return self._refused(following, why, 429)

    def _failed(self, following: str, why: str, status: int) -> Response:
        telemetry.REFUSED.add(("provider",))
        return self._refused(following, why, status)

    def _refused(self, following: str, why: str, status: int) -> Response:
        return login.form(self.request, self.desk, self.cookies, following, why=sentence(why), status=status)
