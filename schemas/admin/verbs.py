"""Owns how a console asks a ledger: reads and acts by their names, each with the credential of whoever asks the console.

The verbs `console_read` and `console_write` are refused without a credential that lives; `admin_read` and `admin_write`
are the command's, which may read the data folder and needs none. They are two pairs, since a ledger cannot tell by a
request on one subject which role has sent it.
"""

from typing import Generic

from msgspec import Struct

from schemas.admin.credentials import Credential
from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Form, Rows, Verb, encode

STATEMENT_ISSUE = "statement_issue"
TOPUP_CREATE = "topup_create"
EXPANSIONS = ("organization", "caps", "limits.used", "refunds", "receipt")
EXPANSIONS_MAX = 5


class Question(Struct, Generic[Form], frozen=True, kw_only=True, eq=False):
    """One thing that can be read: its name, its form, and the scope that it needs, "" for none.

    With `deployment` it is the deployment's: a credential of one organisation may not read it.
    """

    name: str
    form: type[Form]
    scope: str
    deployment: bool = False

    def ask(
        self,
        form: Form,
        credential: Credential,
        *,
        expand: tuple[str, ...] = (),
        ip: str = "",
        user_agent: str = "",
        request_id: str = "",
    ) -> "ConsoleRead":
        """The request that asks it for somebody."""
        return ConsoleRead(VERSION, self.name, encode(form), credential, ip, user_agent, expand, request_id)


class AdminRead(Struct, frozen=True, array_like=True):
    """A read by who needs no credential. `form` is msgpack of the form that the name stands for."""

    v: int
    name: str
    form: bytes
    expand: tuple[str, ...] = ()


class ConsoleRead(Struct, frozen=True, array_like=True):
    """A read on behalf of whoever has the credential. `expand` are names of EXPANSIONS, where a question knows them."""

    v: int
    name: str
    form: bytes
    credential: Credential
    ip: str = ""
    user_agent: str = ""
    expand: tuple[str, ...] = ()
    request_id: str = ""


class ConsoleWrite(Struct, frozen=True, array_like=True):
    """An act on behalf of whoever has the credential, by the name of the act (`ledger.acts.ACTS`).

    The same `idempotency_key` of the same credential with the same `request_hash` does nothing more and has the same
    answer, `replayed`. The hash is the SHA-256 of what was asked for over HTTP; "" takes the form's. `if_version` is the
    version that a change is meant for, 0 for any.
    """

    v: int
    name: str
    form: bytes
    credential: Credential
    idempotency_key: str = ""
    request_hash: bytes = b""
    ip: str = ""
    user_agent: str = ""
    request_id: str = ""
    if_version: int = 0


ADMIN_READ: Verb[AdminRead, Rows] = Verb(name="admin_read", form=AdminRead, reply=Rows, roles=(Role.COMMAND,))
CONSOLE_READ: Verb[ConsoleRead, Rows] = Verb(
    name="console_read", form=ConsoleRead, reply=Rows, roles=(Role.CONSOLE,)
)
CONSOLE_WRITE: Verb[ConsoleWrite, Rows] = Verb(
    name="console_write", form=ConsoleWrite, reply=Rows, roles=(Role.CONSOLE,), writes=True
)
# As the command's: made by a read, and written by an errand between two commits.
CONSOLE_ISSUE: Verb[ConsoleWrite, Rows] = Verb(
    name="console_issue", form=ConsoleWrite, reply=Rows, roles=(Role.CONSOLE,)
)
# As the command's `topup`, by whose right a console asks.
CONSOLE_TOPUP: Verb[ConsoleWrite, Rows] = Verb(
    name="console_topup", form=ConsoleWrite, reply=Rows, roles=(Role.CONSOLE,)
)
_BESIDE_THE_WRITER = {STATEMENT_ISSUE: CONSOLE_ISSUE, TOPUP_CREATE: CONSOLE_TOPUP}


def write_verb(name: str) -> Verb[ConsoleWrite, Rows]:
    """By which verb a console asks for an act."""
    return _BESIDE_THE_WRITER.get(name, CONSOLE_WRITE)
