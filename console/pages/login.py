"""Owns signing in and out: the link's token is posted once, and a session that nobody could have known begins."""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from console import telemetry
from console.asking import Asker, RefusedError
from console.desk import Desk
from console.origin import SAFE
from console.pages.visit import page
from console.signin import Cookies, form_token, fresh_secret, is_form_token
from schemas.admin.credentials import SignInToken, digest
from schemas.admin.operators import SignIn
from schemas.admin.sessions import SessionRef
from schemas.bus.subjects import new_id
from schemas.verbs.base import VERSION

PATH = "/login"
OUT = "/logout"
TOKEN_CHARS_MAX = 256


def first(request: Request) -> Response:
    """Sends a browser to sign in, and from there back to where it was going."""
    path = request.url.path if request.method in SAFE else "/"
    query = f"?{request.url.query}" if request.url.query and request.method in SAFE else ""
    where = f"{PATH}?next={quote(path + query, safe='/')}" if path not in {"/", OUT} else PATH
    return RedirectResponse(where, 303)


def going(text: str) -> str:
    """Where to go on: an address of this console, whatever a link says."""
    own = text.startswith("/") and not text.startswith(("//", "/\\")) and "\\" not in text
    return text if own and text.isprintable() and text.isascii() else "/"


async def answer(
    request: Request, desk: Desk, asker: Asker, cookies: Cookies, fields: dict[str, str]
) -> Response:
    """The page with its form, and the form."""
    if request.method in SAFE:
        return form(request, desk, cookies, going(request.query_params.get("next", "/")))
    following = going(fields.get("next", "/"))
    stranger = cookies.stranger(request)
    if not is_form_token(stranger, fields.get("csrf", "")):
        telemetry.REFUSED.add(("token",))
        return form(
            request, desk, cookies, following, why="The page was open for too long. Try again.", status=403
        )
    if not desk.tries.taken(desk.origins.address(request)):
        telemetry.REFUSED.add(("tries",))
        why = f"More than {desk.limits.sign_ins} tries in a minute: wait a minute, then try again."
        return form(request, desk, cookies, following, why=why, status=429)
    token = fields.get("token", "").strip().rpartition("#t=")[2]
    if not token or len(token) > TOKEN_CHARS_MAX:
        return form(
            request, desk, cookies, following, why="Paste the link, or what follows #t= in it.", status=400
        )
    secret = fresh_secret()  # never what a browser came with: that somebody else could have set
    try:
        signing = asker.by(SignInToken(digest(token)))
        await signing.act("sign_in", SignIn(VERSION, digest(secret)), new_id("idem_"))
    except RefusedError:
        why = "This link was used, is too old, or a newer one has taken its place. Make another."
        return form(request, desk, cookies, following, why=why, status=401)
    if cookies.session(request):
        await end(asker)
    response = RedirectResponse(following, 303)
    cookies.sign_in(response, secret)
    return response


async def end(asker: Asker) -> None:
    """Ends the session that a browser had."""
    try:
        await asker.act("session_end", SessionRef(VERSION), new_id("idem_"))
    except RefusedError:
        return  # it had ended


def form(
    request: Request, desk: Desk, cookies: Cookies, following: str, *, why: str = "", status: int = 200
) -> Response:
    """The page to sign in on; by a provider, too, where one is configured."""
    stranger = cookies.stranger(request) or fresh_secret()
    response = page(
        desk,
        "login.html",
        status,
        path=PATH,
        modules=("login.js",),
        csrf=form_token(stranger),
        following=following,
        why=why,
        provider="" if desk.provider is None else desk.provider.name,
    )
    if not cookies.stranger(request):
        cookies.greet(response, stranger)
    return response


async def out(request: Request, asker: Asker, cookies: Cookies) -> Response:
    """Ends the session."""
    response = RedirectResponse(PATH, 303)
    if request.method not in SAFE:
        await end(asker)
        cookies.sign_out(response)
    return response
