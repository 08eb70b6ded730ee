"""Owns the answer when a command names what does not exist."""

from schemas.verbs.base import Rows


def missing(what: str) -> Rows:
    """There is no such thing."""
    return Rows(problem=f"there is no {what}", missing=True)


def missing_key(key: str) -> Rows:
    """There is no such key, and where to find those that there are."""
    return missing(f"key {key} (tokn key list)")
