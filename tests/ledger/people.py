"""Who asks a ledger through a console in tests: links, sessions, management keys, and acts and reads by their right."""

import asyncio
import typing
from typing import Any

from ledger.commits.commands import Command
from ledger.configured import Configured
from ledger.statements.issuing import Issuing
from ledger.stream.consumer import Consumer
from ledger.verbs.acts import console_command
from ledger.verbs.admin import CONSOLE_READ
from ledger.verbs.base import Services
from ledger.verbs.beats import Beats
from schemas.admin.authority import SCOPES
from schemas.admin.credentials import Credential, ManagementKey, Session, SignInToken, digest
from schemas.admin.management_keys import ManagementKeyCreate
from schemas.admin.operators import LOCAL, SIGN_IN_S, OperatorCreate, SignIn, SignInCreate
from schemas.admin.verbs import ConsoleRead, ConsoleWrite
from schemas.verbs.base import Rows, encode
from tests.ledger.harness import Books

# The acts on who may act.
PEOPLE = {
    *("operator_create", "operator_update", "operator_remove"),
    *("management_key_create", "management_key_update", "management_key_revoke"),
    *("sign_in_create", "sign_in", "session_end"),
}
KEY = ManagementKey(digest("management"))


async def by(books: Books, credential: Credential, name: str, form: Any, **fields: Any) -> Rows:
    """An act by a credential's right."""
    made = console_command(ConsoleWrite(1, name, encode(form), credential, **fields))
    assert isinstance(made, Command), made
    answer: Rows = (await books.committer.commit([made]))[0]
    return answer


async def read(
    books: Books, credential: Credential, name: str, form: Any, expand: tuple[str, ...] = ()
) -> Rows:
    """A read by a credential's right."""
    services = Services(
        store=books.store,
        committer=books.committer,
        consumer=typing.cast("Consumer", typing.cast("object", _NoStream())),
        beats=Beats(),
        providers={},
        auditing=asyncio.Lock(),
        issuing=typing.cast("Issuing", typing.cast("object", None)),
        configured=typing.cast("Configured", typing.cast("object", None)),
    )
    return await CONSOLE_READ.answer(services, ConsoleRead(1, name, encode(form), credential, expand=expand))


class _NoStream:
    acknowledged = None


async def management_key(
    books: Books, *scopes: str, name: str = "management", organization: str = "", **fields: Any
) -> ManagementKey:
    """A management key, made by the command."""
    proof = ManagementKey(digest(name))
    form = ManagementKeyCreate(
        1, proof.digest, name[-4:], name, scopes or SCOPES, organization=organization, **fields
    )
    answer = await books.act("management_key_create", form)
    assert not answer.problem, answer
    return proof


async def link(books: Books, token: str = "link", operator: str = LOCAL, lasts_s: int = SIGN_IN_S) -> Rows:
    """A link to sign in, made by the command."""
    answer: Rows = await books.act("sign_in_create", SignInCreate(1, operator, digest(token), lasts_s))
    assert not answer.problem, answer
    return answer


async def signed_in(books: Books, token: str = "link", session: str = "session", **fields: Any) -> Session:
    """A session, by a link."""
    answer = await by(books, SignInToken(digest(token)), "sign_in", SignIn(1, digest(session)), **fields)
    assert not answer.problem, answer
    return Session(digest(session))


async def operator(
    books: Books, role: str, organization: str = "", *, name: str = "ann"
) -> tuple[str, Session]:
    """An operator who is signed in: his id and session."""
    made = await books.act(
        "operator_create", OperatorCreate(1, name, f"{name}@x.example", role, organization)
    )
    assert not made.problem, made
    id_ = str(made.rows[0]["id"])
    await link(books, f"link of {name}", id_)
    return id_, await signed_in(books, f"link of {name}", f"session of {name}")
