"""Owns what a verb is: its name, its form, its reply, and who may ask; and the answers that several verbs share.

Messages are msgpack arrays that carry a version first. A reader ignores fields that it does not know at the end.
"""

from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from schemas.bus import subjects
from schemas.bus.subjects import Role

VERSION = 1
Form = TypeVar("Form")
Reply = TypeVar("Reply")


class Done(Struct, frozen=True, array_like=True):
    """The plain answer of reattempt, release, estimate, renew, ping: `ok` is False if the hold had already ended."""

    ok: bool = True
    detail: str = ""


class Rows(Struct, frozen=True, array_like=True):
    """The answer to commands: JSON objects with the fields of docs/contract.md, or why not.

    `problem` is empty when it worked; `missing` says that the thing named does not exist. `cursor` is the next
    page's, 0 or "" at the end. `reason` is one word of `schemas.admin.reasons`, where a program has to tell it from
    others. `replayed` says that the act was done before, and this is its answer of then. `rest` is what a page of sums
    leaves out, in one row, if that was asked for.
    """

    rows: tuple[dict[str, Any], ...] = ()
    problem: str = ""
    missing: bool = False
    cursor: int | str = 0
    reason: str = ""
    replayed: bool = False
    rest: dict[str, Any] | None = None


encode = msgspec.msgpack.Encoder(decimal_format="string").encode


class Verb(Struct, Generic[Form, Reply], frozen=True, kw_only=True, eq=False, dict=True):
    """One thing that a ledger is asked to do, as an asker and a ledger both know it.

    `name` is one token of a subject. `reply` is a type or a union of types, decoded as `Reply`. `writes` says that
    the books change. A verb may always be asked again: the answer is the same, and nothing happens twice.
    """

    name: str
    form: type[Form]
    reply: Any
    roles: tuple[Role, ...]
    writes: bool = False

    @cached_property
    def subject(self) -> str:
        """Where a ledger answers."""
        return subjects.ledger(self.name)

    @cached_property
    def form_decoder(self) -> msgspec.msgpack.Decoder[Form]:
        """Reads a request."""
        return msgspec.msgpack.Decoder(self.form)

    @cached_property
    def reply_decoder(self) -> msgspec.msgpack.Decoder[Reply]:
        """Reads a reply."""
        return msgspec.msgpack.Decoder(self.reply)
