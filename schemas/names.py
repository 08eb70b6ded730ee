"""Owns which names of a JSON object a reader may take for one another: a name twice, in other letters, or a second limit."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

LONG_BYTES: Final = 64 * 1024  # from here on JSON is measured rather than written again,
LONG_BYTES_EACH: Final = 4 * 1024  # if its values are this long
TOLD_BYTES_MAX: Final = (
    64 * 1024
)  # of an object whose doubled name is looked for: it takes a step for each value

# What servers call the limit of an answer, whatever their letters are.
LIMITS: Final = frozenset(
    [
        "maxtokens",
        "maxcompletiontokens",
        "maxoutputtokens",
        "maxnewtokens",
        "maxlength",
        "maxlen",
        "maxgenlen",
        "maxtokenstosample",
        "maxtokenstogenerate",
        "maxcompletionlength",
        "maxtokencount",
        "maxgentokens",
        "tokenlimit",
        "numpredict",
        "npredict",
    ]
)
_JOINTS: Final = re.compile(r"[^a-z0-9]")
_JOINTS_IN_LINES: Final = re.compile(r"[^a-z0-9\n]+")
_BREAK: Final = "\n"
_encode = msgspec.json.Encoder().encode


def folded(name: str) -> str:
    """A name as the most careless reader compares it: without case, and without what joins its words."""
    return _JOINTS.sub("", name.casefold())


def by_fold(names: Iterable[str]) -> dict[str, str]:
    """Names by how they are folded: no two of them may be folded alike."""
    return {folded(name): name for name in names}


def is_plain(raw: bytes | Raw, objects: Sequence[Mapping[str, Raw]], *, listed: bool = False) -> bool:
    """Whether compact JSON says no more than what was decoded of it: no name twice, and none with escapes in it.

    It is one object, or a list of them if `listed`. Long values are not copied to find that out: no other JSON is as
    short as that in which each name is there once.
    """
    size = memoryview(raw).nbytes
    if size < LONG_BYTES or size < LONG_BYTES_EACH * sum(map(len, objects)):
        return _encode(objects if listed else objects[0]) == bytes(raw)
    shortest = len(objects) + 1 if listed else 0
    for one in objects:
        shortest += 1 + max(1, len(one))
        shortest += sum(len(name.encode()) + 3 + memoryview(value).nbytes for name, value in one.items())
    return shortest == size


def twice(raw: bytes | Raw) -> str | None:
    """The name that an object has twice at its top; "" if it is too long to be looked through, None if there is none."""
    if len(bytes(raw)) > TOLD_BYTES_MAX:
        return ""
    pairs: Any = json.loads(bytes(raw), object_pairs_hook=list, parse_int=str, parse_float=str)
    counted = Counter(name for name, _ in pairs)
    return next((name for name, times in counted.items() if times > 1), None)


def any_meant(names: Sequence[str], folds: Mapping[str, str]) -> bool:
    """Whether some of many names may be taken for a known one: `meant` says which, but takes a step for each."""
    text = _BREAK.join(names)
    if text.count(_BREAK) != len(names) - 1:
        return True
    return not folds.keys().isdisjoint(_JOINTS_IN_LINES.sub("", text.casefold()).split(_BREAK))


def meant(name: str, known: Collection[str], folds: dict[str, str], limit: str = "") -> str:
    """What a careless reader takes an unlisted name for: a known one, or the `limit`; "" for a name of its own."""
    if name in known:
        return ""
    fold = folded(name)
    return folds.get(fold, "") or (limit if fold in LIMITS else "")
