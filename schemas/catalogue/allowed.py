"""Owns which models a key's own list lets it use: ids, and beginnings of ids with a `*` at their end."""

MODELS_MAX = 100  # names in one list
NAME_CHARS_MAX = 200
ANY_END = "*"


def allows(names: tuple[str, ...] | None, model: str) -> bool:
    """Whether a list has a model's id; None has all."""
    if names is None or model in names:
        return True
    return any(one.endswith(ANY_END) and model.startswith(one[:-1]) for one in names)


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
