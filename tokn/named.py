"""Owns how a command is told which key it is about: by id, by a name that only one has, or by the key itself.

A key itself is taken out of the words before they are read: nothing that is printed about them can then have it.
"""

import re
import sys
from typing import Any

import typer

from schemas import keys
from schemas.verbs.base import VERSION
from schemas.verbs.keys import KEY_FIND, KeyFind

STANDARD_INPUT = "-"
LINE_CHARS_MAX = 1_000
KEY_HELP = "A key's id or name, or the key itself; - reads it from standard input."
_ID = re.compile(r"key_[0-9a-f]{16}")
_SECRET = re.compile(rf"{keys.PREFIX}[0-9A-Za-z]{{20,}}")  # one with a typing error, too
_given: dict[str, str] = {}  # keys among this command's words, by what stands for them there


def hide(words: list[str]) -> list[str]:
    """The words of a command with something else in place of each key."""
    return [_SECRET.sub(lambda found: _mask(found[0]), word) for word in words]


def _mask(secret: str) -> str:
    mask = f"{keys.PREFIX}…{len(_given)}"
    _given[mask] = secret
    return mask


def _line() -> str:
    """One line of standard input."""
    return sys.stdin.readline(LINE_CHARS_MAX).strip()


def secret_of(text: str) -> str:
    """The key that a word, or - for standard input, stands for. Raises typer.BadParameter for what is none."""
    secret = _line() if text == STANDARD_INPUT else _given.get(text, text)
    if not keys.is_well_formed(secret):
        raise typer.BadParameter("that is no key: it begins with tokn_ and has 38 more characters")
    return secret


def key_id(asked: Any, text: str) -> str:
    """The id of the key that a word means, as its ledger knows it. Raises typer.BadParameter, RefusedError, NoLedgerError."""
    word = _line() if text == STANDARD_INPUT else text
    if _ID.fullmatch(word):
        return word
    if keys.PREFIX in word:
        secret = _given.get(word, word)
        if not keys.is_well_formed(secret):
            why = "that looks like a key itself, but is none; name it by its id (tokn key list)"
            raise typer.BadParameter(why)
        request = KeyFind(VERSION, digest=keys.digest(secret))
    elif word:
        request = KeyFind(VERSION, name=word)
    else:
        raise typer.BadParameter("name a key by its id (tokn key list)")
    return str(asked.ask(KEY_FIND, request).rows[0]["id"])
