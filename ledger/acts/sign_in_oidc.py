"""Owns the act by which people sign in with an OpenID provider: its word makes or finds the operator, and a session begins."""

from msgspec.structs import replace

from ledger.acts.base import Act
from ledger.acts.operators import add_operator
from ledger.acts.sessions import open_session, secret_problem, tell_locked_out
from ledger.commits.wanted import Wanted
from ledger.rules.authority_rows import Nonce, Operator
from ledger.rules.book import Book
from ledger.rules.grants import GrantKind, refused
from ledger.rules.identity import Identity
from ledger.rules.missing import missing
from schemas.admin.operators import SignIn
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows

_USED = refused(Reason.INVALID_ID_TOKEN, "this sign-in was used: begin again")
_FROM_PROVIDER = ("name", "email", "role", "organization")  # what its word at each sign-in says anew


def _wants(names: Wanted, _form: SignIn, digest: str) -> None:
    names.secret = digest
    if isinstance(names.proof, Identity):
        names.nonce = names.proof.nonce
        if names.proof.organization:
            names.profiles.add(names.proof.organization)


def _sign_in(book: Book, form: SignIn, digest: str) -> Rows:
    identity = book.grant.identity
    if identity is None:
        return missing("ID token")
    if identity.nonce in book.people.nonces:
        return _USED
    if identity.organization and identity.organization not in book.profiles:
        why = "your provider says an organisation of yours that is not here: an owner can make it"
        return refused(Reason.SIGN_IN_REFUSED, why)
    if problem := secret_problem(book, digest, form.digest):
        return Rows(problem=problem)
    nonces = book.people.nonces
    for over in list(nonces.values()):
        nonces.remove(over)
    nonces.add(Nonce(id=identity.nonce, ends_ms=identity.nonce_ends_ms))
    operator = _operator(book, identity)
    book.actor = f"{GrantKind.OPERATOR}:{operator.id}"
    book.grant = replace(book.grant, id=operator.id, actor=book.actor)
    return open_session(book, operator, digest)


def _operator(book: Book, identity: Identity) -> Operator:
    """The operator whom a provider names, as its word has him now; made if this is his first time."""
    operators = book.people.operators
    one = operators.get(book.grant.id)
    if one is None:
        made = add_operator(book, **{name: getattr(identity, name) for name in _FROM_PROVIDER})
        made.issuer, made.subject = identity.issuer, identity.subject
        return made
    wanted = {name: getattr(identity, name) for name in _FROM_PROVIDER}
    if wanted != {name: getattr(one, name) for name in _FROM_PROVIDER}:
        for name, value in wanted.items():
            setattr(one, name, value)
        one.version += 1
        operators.touch(one)
    return one


# As a link, an ID token opens nothing but this.
SIGN_IN_OIDC = Act(
    name="sign_in_oidc",
    form=SignIn,
    wants=_wants,
    do=_sign_in,
    hashed=True,
    scopes=(),
    of=lambda book, _form: (book.grant.organization,),
    refused=tell_locked_out,
)
