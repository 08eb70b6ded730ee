"""Owns which models a key's own list lets it use: ids, and beginnings of ids with a `*` at their end."""

from functools import lru_cache

MODELS_MAX = 100  # names in one list
NAME_CHARS_MAX = 200
ANY_END = "*"
LISTS_MAX = 256  # that are kept taken apart


def allows(names: tuple[str, ...] | None, model: str) -> bool:
    """Whether a list has a model's id; None has all."""
    if names is None:
        return True
    ids, beginnings = _split(names)
    return model in ids or model.startswith(beginnings)


@lru_cache(maxsize=LISTS_MAX)
def _split(names: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """A list's ids, and the beginnings of ids that it has."""
    return (
        frozenset(one for one in names if not one.endswith(ANY_END)),
        tuple(one[:-1] for one in names if one.endswith(ANY_END)),
    )


def problem(names: tuple[str, ...]) -> str:
    """Why some names are no list; empty if they are one."""
    if len(names) > MODELS_MAX:
        return f"a list has at most {MODELS_MAX} models"
    for one in names:
        if not one or len(one) > NAME_CHARS_MAX or not one.isprintable() or " " in one:
            return "a model is an id, or the beginning of ids with a * at its end"
        if ANY_END in one[:-1]:
            return f"the * of {one} must be at its end"
    return ""
