"""Owns how many tokens a model's own tokenizer makes where o200k makes one, until its provider has said so."""

import re
from typing import Final

from msgspec import Struct


class Start(Struct, frozen=True):
    """The factor of a model that nothing is known of yet, and between what it may be found to be."""

    factor: float
    least: float
    most: float


OWN: Final = Start(1.0, 0.77, 1.3)  # OpenAI's
OTHER: Final = Start(1.0, 0.6, 1.8)
OLD_CLAUDE: Final = Start(1.15, 0.6, 1.8)
CLAUDE: Final = Start(1.45, 0.6, 1.8)

# By what an upstream's id has in it, at any host; the first that is found counts.
_ROWS: Final = (
    (re.compile(r"claude-(?:instant|v?[23]|(?:opus|sonnet|haiku)-4(?!-[7-9]))"), OLD_CLAUDE),
    (re.compile(r"claude"), CLAUDE),
    (re.compile(r"(?:^|/)(?:gpt-|o[1-9]|chatgpt-|computer-use)"), OWN),
)


def start_of(upstream: str) -> Start:
    """What a model's estimates start from, by the id that its provider is asked for."""
    return next((start for found, start in _ROWS if found.search(upstream)), OTHER)
