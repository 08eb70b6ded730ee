"""Owns what is asked about sessions: who is signed in, and to end that."""

from msgspec import Struct

from schemas.verbs.base import VERSION


class SessionList(Struct, frozen=True, array_like=True):
    """Asks for a page of live sessions, newest first, after one; those of one operator with `operator`."""

    v: int = VERSION
    limit: int = 20
    after: str = ""
    operator: str = ""


class SessionRef(Struct, frozen=True, array_like=True):
    """Names a session. The act `session_end` ends it; whoever is signed in may end the own one, "" as its id."""

    v: int
    id: str = ""
