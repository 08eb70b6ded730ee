"""Owns how the books are exported: page by page, as they were at one moment, whatever is committed meanwhile."""

from typing import Final

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb

JOURNAL: Final = "journal"
CALLS: Final = "calls"
FOCUS: Final = "focus"
EXPORTS: Final = (JOURNAL, CALLS, FOCUS)
PAGE_ROWS: Final = 2_000


class ExportQuery(Struct, frozen=True, array_like=True):
    """Asks for a page of an export: what was booked from `since_ms` to just before `until_ms`, 0 for no bound.

    The first one has no cursor; the moment that it was asked at is that of the whole export, and is in each cursor. An
    organisation's has only what touched its accounts. The answer has one row with `rows`, each a list in the order of the
    export's columns (`schemas.exports`). A page may be empty though others follow: only a cursor "" is the end.
    """

    v: int = VERSION
    name: str = JOURNAL
    since_ms: int = 0
    until_ms: int = 0
    organization: str = ""
    cursor: str = ""


class ExportBegin(Struct, frozen=True, array_like=True):
    """Says for the audit log that an export of these rows begins; its pages are asked for by themselves."""

    v: int = VERSION
    name: str = JOURNAL
    since_ms: int = 0
    until_ms: int = 0
    organization: str = ""


EXPORT: Verb[ExportQuery, Rows] = Verb(name="export", form=ExportQuery, reply=Rows, roles=(Role.COMMAND,))
