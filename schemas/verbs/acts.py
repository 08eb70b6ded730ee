"""Owns how operators ask for an act: which one, its form, and what makes it happen once. And how the audit log is read."""

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb


class ActRequest(Struct, frozen=True, array_like=True):
    """Asks for an act. `form` is msgpack of the form that the act's name stands for.

    The same `idempotency_key` of the same `credential` with the same form does nothing more, and has the same answer; with
    another form it is refused. `actor` says who asks. `credential` is empty for who may read the data folder.
    """

    v: int
    name: str
    form: bytes
    idempotency_key: str = ""
    actor: str = ""
    credential: bytes = b""


class LogQuery(Struct, frozen=True, array_like=True):
    """Asks for a page of the audit log, newest first; `before` is the cursor of the last page. Empty fields ask for all."""

    v: int = VERSION
    limit: int = 100
    before: int = 0
    actor: str = ""
    action: str = ""
    target: str = ""


ACT: Verb[ActRequest, Rows] = Verb(
    name="admin_write", form=ActRequest, reply=Rows, roles=(Role.COMMAND,), writes=True
)
AUDIT_LOG: Verb[LogQuery, Rows] = Verb(name="audit_log", form=LogQuery, reply=Rows, roles=(Role.COMMAND,))
