"""Owns the forms of acts on operators: to make, change and remove one, and to give one a link to sign in."""

from msgspec import Struct

from schemas.verbs.base import VERSION

SIGN_IN_S = 600  # a link that the command or `tokn up` prints
INVITE_S = 86_400  # one for a named operator
SESSION_S = 7 * 86_400  # at most
SESSION_IDLE_S = 12 * 3_600
TRIES_MAX = 5  # to sign in, of one address, in each window
TRIES_WINDOW_S = 60
LOCAL = ""  # instead of an operator's id: the owner of this machine, who is made if there is no owner


class OperatorCreate(Struct, frozen=True, array_like=True):
    """The act `operator_create`. `role` is one of OperatorRole; `organization` is "" for all of them."""

    v: int
    name: str
    email: str
    role: str
    organization: str = ""


class OperatorUpdate(Struct, frozen=True, array_like=True):
    """The act `operator_update`: what is None stays."""

    v: int
    id: str
    name: str | None = None
    email: str | None = None
    role: str | None = None
    organization: str | None = None


class OperatorRef(Struct, frozen=True, array_like=True):
    """Names an operator. The act `operator_remove` ends its sessions and links, too."""

    v: int
    id: str


class OperatorList(Struct, frozen=True, array_like=True):
    """Asks for a page of operators, newest first, after one."""

    v: int = VERSION
    limit: int = 20
    after: str = ""


class SignInCreate(Struct, frozen=True, array_like=True):
    """The act `sign_in_create`: a link for an operator, by the SHA-256 of its token. The link before it dies.

    `operator` LOCAL is for whoever may read the data folder, and refused to others. The answer names the operator.
    """

    v: int
    operator: str
    digest: bytes
    lasts_s: int = SIGN_IN_S


class SignIn(Struct, frozen=True, array_like=True):
    """The act `sign_in`, whose credential is the link's: a session, by the SHA-256 of its secret.

    The answer has the session, its operator, and what that one may.
    """

    v: int
    digest: bytes
