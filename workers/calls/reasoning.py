"""Owns whether a model reasons for a call: by its row, and by what its caller asks for."""

from typing import Any

import msgspec
from msgspec import Struct

from schemas.catalogue.model import Capabilities, Model
from schemas.json import UNREADABLE

_NONE = "none"
_OFF = "disabled"  # what is said of thinking, in place of an effort
_ON = "enabled"
# Whose models reason unless they are told not to, where a row does not say what an unset effort means.
_UNASKED = frozenset(("gemini",))


class _Asked(Struct):
    """What a body of any dialect says of reasoning. Types are the upstream's to judge."""

    reasoning_effort: Any = None
    reasoning: Any = None
    output_config: Any = None
    thinking: Any = None


_decode = msgspec.json.Decoder(_Asked).decode


def reasons(body: bytes, model: Model) -> bool:
    """Whether a model reasons for a call with this body, of whatever dialect. In doubt it does."""
    able = model.capabilities
    if not _can(able):
        return False
    effort = _effort(body)
    if effort == _NONE and _NONE in able.efforts:
        return able.thinking_off not in ("", _OFF)  # else it reasons a little all the same
    if effort is not None or able.reasons:
        return True
    if able.effort_default:
        return able.effort_default != _NONE
    return _NONE not in able.efforts or model.family in _UNASKED


def _can(able: Capabilities) -> bool:
    return able.reasons or any(effort != _NONE for effort in able.efforts)


def _effort(body: bytes) -> str | None:
    """What is asked for: an effort, or that there be none; None where nothing is said."""
    try:
        asked = _decode(body)
    except UNREADABLE:
        return None
    thinking = _inner(asked.thinking, "type")
    if thinking == _OFF:
        return _NONE
    efforts = (
        asked.reasoning_effort,
        _inner(asked.reasoning, "effort"),
        _inner(asked.output_config, "effort"),
    )
    said = next((effort for effort in efforts if isinstance(effort, str)), None)
    return said or (_ON if isinstance(thinking, str) else None)


def _inner(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None
