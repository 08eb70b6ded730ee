"""Owns how fast a model is reckoned to produce until an answer of it has shown that: by its vendor, and by its id.

A row has the quickest that public measurements of such models show, in tokens a second. The start is four fifths of it:
who leaves the quickest of its kind saves at most a fifth of what it reasoned, and who leaves a slower one is never asked
for more than that kind could have produced, or for more than his hold.
"""

import re
from functools import lru_cache
from typing import Final

START_SHARE: Final = 0.8  # of the quickest of its kind
OTHER_PER_S: Final = 160.0  # of whatever is in no row
IDS_MAX: Final = 1_024  # whose row is remembered, the latest

# Vendors with processors of their own, by preset; then any vendor, by what an id has in it. The first found counts.
_VENDORS: Final = {
    "cerebras": ((re.compile(""), 3_000.0),),
    "groq": ((re.compile(r"-20b|-8b|guard|instant"), 1_000.0), (re.compile(""), 650.0)),
    "sambanova": ((re.compile(""), 700.0),),
}
_ROWS: Final = tuple(
    (re.compile(pattern), per_s)
    for pattern, per_s in (
        (r"gpt-oss", 350.0),
        (r"claude.*haiku", 190.0),
        (r"claude.*-fast", 200.0),
        (r"claude", 90.0),
        (r"flash-lite|nova-(?:\d+-)?(?:micro|lite)", 420.0),
        (r"gemini.*flash", 280.0),
        (r"grok.*(?:fast|mini|code|build)", 260.0),
        (r"grok", 120.0),
        (r"codex|-nano|(?:^|/)o[134](?:-|$)", 200.0),
        (r"magistral-small|mistral-small|ministral|-(?:[1-9]|1[0-9])b(?:-|$)", 220.0),
        (r"turbo|highspeed|lightning|-airx|-flash", 220.0),
        (r"deepseek|kimi|glm-|minimax|-(?:large|medium|max)", 120.0),
    )
)


@lru_cache(maxsize=IDS_MAX)
def start_per_s(preset: str, upstream: str) -> float:
    """Tokens a second, by the preset of a pool and the id that its provider is asked for."""
    name = upstream.lower()
    rows = (*_VENDORS.get(preset, ()), *_ROWS)
    return START_SHARE * next((per_s for found, per_s in rows if found.search(name)), OTHER_PER_S)
