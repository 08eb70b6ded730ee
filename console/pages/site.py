"""Owns the way to a page: its row, who asks, whether the form is ours, and what becomes of refusals and of an absent ledger."""

from collections.abc import Awaitable, Callable

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from console import telemetry
from console.asking import Asker, RefusedError
from console.desk import Desk
from console.origin import SAFE
from console.pages import login, openid
from console.pages.back import back
from console.pages.visit import FormError, Person, Visit, page, person_of, read_fields, sentence
from console.pieces import BusyError
from console.signin import Cookies, form_token, is_form_token
from runtime.ledger import LedgerAwayError
from schemas.admin.credentials import Session, digest
from schemas.admin.reads import ME, Me
from schemas.admin.reasons import Reason
from schemas.verbs.topups import BACK_PATH

USER_AGENT_CHARS_MAX = 300
Handler = Callable[[Visit], Awaitable[Response]]


class PageRow(Struct, frozen=True, kw_only=True):
    """One address: who may GET it (`needs`, a scope) and what shows it; who may POST to it and what that does.

    With `deployment` it is the deployment's, and no page for people of one organisation.
    """

    path: str  # Starlette's pattern
    show: Handler | None = None
    needs: str = ""
    act: Handler | None = None
    act_needs: str = ""
    deployment: bool = False


class Site:
    """All pages of a console."""

    def __init__(self, desk: Desk, rows: tuple[PageRow, ...]) -> None:
        self._desk = desk
        self._rows = tuple((*compile_path(row.path)[::2], row) for row in rows)

    async def answer(self, request: Request) -> Response:
        """Answers one request. Whatever goes wrong is a page that says so."""
        desk, path = self._desk, request.url.path
        safe = request.method in SAFE
        if not safe and request.method != "POST":
            return self._problem(request, 405, "Pages are read and sent, nothing else.")
        if not safe and not desk.origins.is_own_page(request):
            telemetry.REFUSED.add(("origin",))
            return self._problem(request, 403, "This form was sent by another site. Nothing was changed.")
        if path == BACK_PATH and safe and desk.payments:
            return back(request, desk)
        try:
            fields = {} if safe else await read_fields(request)
        except FormError as error:
            return self._problem(request, 400, error.errors[""])
        cookies = Cookies.of(request, desk.origins)
        try:
            if path == login.PATH:
                return await login.answer(
                    request, desk, self._asker(request, cookies.session(request)), cookies, fields
                )
            if path == openid.PATH and desk.provider is not None:
                asker = self._asker(request, cookies.session(request))
                way = openid.Way(
                    request=request, desk=desk, provider=desk.provider, asker=asker, cookies=cookies
                )
                return await way.answer(fields)
            return await self._signed_in(request, cookies, fields)
        except LedgerAwayError:
            return self._away(request, fields)

    async def _signed_in(self, request: Request, cookies: Cookies, fields: dict[str, str]) -> Response:
        secret = cookies.session(request)
        if not secret:
            return login.first(request)
        asker = self._asker(request, secret)
        try:
            person = person_of((await asker.read(ME, Me())).rows[0])
        except RefusedError as error:
            if error.reason is not Reason.INVALID_SESSION:
                raise
            response = login.first(request)
            cookies.sign_out(response)
            return response
        if request.method not in SAFE and not is_form_token(secret, fields.get("csrf", "")):
            telemetry.REFUSED.add(("token",))
            return self._problem(
                request, 403, "This form is not of your session: load its page again. Nothing was changed."
            )
        if request.url.path == login.OUT:
            return await login.out(request, asker, cookies)
        return await self._shown(
            Visit(request, self._desk, asker, person, secret=secret, fields=fields), secret
        )

    async def _shown(self, visit: Visit, secret: str) -> Response:
        request, person = visit.request, visit.person
        csrf = form_token(secret)
        found = self._row(request)
        if found is None:
            return self._problem(request, 404, "There is no such page.", person, csrf)
        handler, needs = (found.show, found.needs) if request.method in SAFE else (found.act, found.act_needs)
        if handler is None:
            return self._problem(request, 405, "This page takes no such request.", person, csrf)
        if not person.may(needs, deployment=found.deployment):
            what = "This page is the whole deployment's." if person.may(needs) else f"It needs {needs}."
            return self._problem(
                request, 403, f"This is not for the role {person.role}. {what}", person, csrf
            )
        try:
            return await handler(visit)
        except RefusedError as error:
            return self._problem(request, error.status, sentence(error.sentence), person, csrf)
        except FormError as error:
            return self._problem(request, 400, next(iter(error.errors.values())), person, csrf)
        except BusyError as error:
            return self._problem(request, 429, sentence(str(error)), person, csrf)

    def _row(self, request: Request) -> PageRow | None:
        for pattern, convertors, row in self._rows:
            if (match := pattern.match(request.url.path)) is not None:
                request.scope["path_params"] = {
                    name: convertors[name].convert(value) for name, value in match.groupdict().items()
                }
                return row
        return None

    def _asker(self, request: Request, secret: str) -> Asker:
        return Asker(
            ledger=self._desk.ledger,
            credential=Session(digest(secret)),
            ip=self._desk.origins.address(request),
            user_agent=request.headers.get("user-agent", "")[:USER_AGENT_CHARS_MAX],
            request_id=request.state.request_id,
        )

    def _problem(
        self, request: Request, status: int, why: str, person: Person | None = None, csrf: str = ""
    ) -> Response:
        path = request.url.path
        return page(
            self._desk, "problem.html", status, path=path, person=person, csrf=csrf, why=why, code=status
        )

    def _away(self, request: Request, fields: dict[str, str]) -> Response:
        """No ledger answers. What was asked for asks again by itself; a form can be sent again, and is done once."""
        response = page(
            self._desk,
            "away.html",
            503,
            csrf="",
            path=request.url.path,
            again=fields if "idem" in fields else {},
            sent=bool(fields),
            seconds=self._desk.limits.again_s,
        )
        if request.method in SAFE:
            response.headers["refresh"] = str(self._desk.limits.again_s)
        response.headers["retry-after"] = str(self._desk.limits.again_s)
        return response
