"""Owns the answer when a command names what does not exist, and sentences whose reason programs have to tell apart."""

from typing import Self

from msgspec.structs import replace

from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows


class Told(str):
    """Why something cannot be done, with the word of its reason."""

    __slots__ = ("reason",)
    reason: Reason

    def __new__(cls, said: str, reason: Reason) -> Self:
        """The sentence and its word."""
        made = super().__new__(cls, said)
        made.reason = reason
        return made


def worded(answer: Rows) -> Rows:
    """An answer with the word of its sentence, if that has one."""
    if isinstance(answer.problem, Told):
        return replace(answer, problem=str(answer.problem), reason=answer.problem.reason)
    return answer


def missing(what: str) -> Rows:
    """There is no such thing."""
    return Rows(problem=f"there is no {what}", missing=True)


def missing_key(key: str) -> Rows:
    """There is no such key, and where to find those that there are."""
    return missing(f"key {key} (tokn key list)")
