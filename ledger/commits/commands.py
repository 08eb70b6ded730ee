"""Owns what a command is to the writer: a request, and what its verb does to the books."""

from collections.abc import Callable
from typing import Any, Generic

from msgspec import Struct

from ledger.commits.wanted import Wanted
from ledger.rules.book import Book
from schemas.verbs.base import Form, Reply, Verb


class Write(Struct, Generic[Form, Reply], frozen=True, kw_only=True, eq=False):
    """What a ledger does for a verb that changes the books, within the commit of all commands that wait with it.

    `wants` adds the names of the rows that the request needs; `answer` changes the book that has them. Both get the
    keyed hash of the request's `digest` if the verb is `hashed`, else "". `busy` answers if too many commands wait;
    without it the asker hears nothing, and asks again. One that is `alone` has its commit to itself. `newer` says whether
    a request asks for what an older ledger on the same books would break: it is refused while one is seen.
    """

    verb: Verb[Form, Reply]
    wants: Callable[[Wanted, Form, str], None]
    answer: Callable[[Book, Form, str], Reply]
    hashed: bool = False
    busy: Reply | None = None
    alone: bool = False
    newer: Callable[[Form], bool] | None = None


class Command(Struct, frozen=True, eq=False):
    """One request with its verb."""

    write: Write[Any, Any]
    request: Any
