"""Owns the list of models as callers get it: bytes that are made once a version, a few entries at a time."""

import asyncio
import datetime as dt
import hashlib
import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from edge.admission.catalogue import Catalogue, alias_entry, describe
from edge.calls.roster import Roster
from runtime.catalogue.shelf import Shelf, utc_today
from schemas.catalogue.allowed import allows
from schemas.catalogue.model import Model

ENTRIES_AT_ONCE = 8  # between two turns of the loop
MODELS_AT_ONCE = 1_000  # that are looked at between two turns
ENTRIES_A_PART = 64
PAGE_MAX = 1_000
LISTS_MAX = 64  # of keys with lists of their own that are kept; those made first go first
FORM = "2"  # of an entry: another form of the same models is another list
_encode = msgspec.json.Encoder(decimal_format="string").encode


class Listed(Struct, frozen=True):
    """The list at one moment: ids in order with their entries, and a tag that is another for any other list."""

    key: tuple[int, int, dt.date]
    ids: tuple[str, ...]
    entries: tuple[bytes, ...]
    parts: tuple[bytes, ...]  # of the whole answer
    tag: str

    def page(self, limit: int, after_id: str, before_id: str = "") -> bytes:
        """At most so many entries of those after an id, or of those before one, and whether there are more."""
        if before_id and not after_id:
            end = bisect_left(self.ids, before_id)
            start = max(end - limit, 0)
            more = start > 0
        else:
            start = bisect_right(self.ids, after_id) if after_id else 0
            end = start + limit
            more = end < len(self.ids)
        inner = b",".join(self.entries[start:end])
        return b'{"object":"list","data":[%s],%s' % (inner, _place(self.ids[start:end], more=more))


def _place(ids: tuple[str, ...], *, more: bool) -> bytes:
    """Where a page stands, and the end of its body: both SDKs turn pages by it."""
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return _encode({"has_more": more, "first_id": first, "last_id": last})[1:]


class Listing:
    """What `GET /v1/models` shows: the models that some worker can serve now, and the aliases that stand for one."""

    def __init__(
        self, catalogue: Catalogue, roster: Roster, today: Callable[[], dt.date] = utc_today
    ) -> None:
        self._catalogue = catalogue
        self._roster = roster
        self._made: Listed | None = None
        self._shelf = Shelf(catalogue, roster, today)
        self._known: tuple[int, str, dt.date] | None = None  # what the entries are of
        self._entries: dict[str, bytes] = {}
        self._of: dict[
            tuple[str, tuple[str, ...]], Listed
        ] = {}  # by the whole list's tag, and a key's own list
        self._making = asyncio.Lock()
        self._own = secrets.token_hex(8)  # tells lists apart whose ledger gives them no version

    async def current(self) -> Listed:
        """The list of now."""
        made = self._made
        if made is None or made.key != self._key():
            async with self._making:
                made = self._made
                if made is None or made.key != self._key():
                    made = self._made = await self._make()
        return made

    async def of(self, names: tuple[str, ...]) -> Listed:
        """The list of now as a key with a list of its own sees it: without the models that it may not use."""
        whole = await self.current()
        made = self._of.get((whole.tag, names))
        if made is None:
            made = await self._make_of(whole, names)
            self._of[whole.tag, names] = made
            if len(self._of) > LISTS_MAX:
                self._of.pop(next(iter(self._of)))
        return made

    async def _make_of(self, whole: Listed, names: tuple[str, ...]) -> Listed:
        ids: list[str] = []
        entries: list[bytes] = []
        for number, (id_, entry) in enumerate(zip(whole.ids, whole.entries, strict=True), 1):
            if self.shows(names, id_):
                ids.append(id_)
                entries.append(entry)
            if number % MODELS_AT_ONCE == 0:
                await asyncio.sleep(0)
        said = "\n".join((whole.tag, *names))
        return Listed(
            key=whole.key,
            ids=tuple(ids),
            entries=tuple(entries),
            parts=await _parts(tuple(ids), tuple(entries)),
            tag=f'"{hashlib.sha256(said.encode()).hexdigest()[:32]}"',
        )

    def shows(self, names: tuple[str, ...] | None, id_: str) -> bool:
        """Whether a key with such a list may use a model, or some model that an alias stands for."""
        ids = self._catalogue.stands_for(id_) or (id_,)
        return any(allows(names, one) for one in ids)

    def _key(self) -> tuple[int, int, dt.date]:
        return self._catalogue.generation, self._roster.generation, self._shelf.today()

    async def _make(self) -> Listed:
        key = generation, _, day = self._key()
        version = self._catalogue.version or f"{self._own}:{generation}"
        live, told, ended = self._roster.live(), self._roster.told, self._shelf.ended
        await asyncio.sleep(0)
        every, models = self._catalogue.models(), list[Model]()
        for start in range(0, len(every), MODELS_AT_ONCE):
            some = every[start : start + MODELS_AT_ONCE]
            models += [model for model in some if (model.pool, model.id) in live and not ended(model)]
            await asyncio.sleep(0)
        if self._known != (generation, told, day):
            self._known, self._entries = (generation, told, day), {}
        entries, fresh = self._entries, 0
        for model in models:
            if model.id not in entries:
                entries[model.id] = _encode(describe(model, self._roster, day))
                fresh += 1
                if fresh % ENTRIES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        listed = {model.id: entries[model.id] for model in models}
        listed.update(await self._aliases(day))
        await asyncio.sleep(0)
        ids = tuple(sorted(listed))
        shown = tuple(listed[name] for name in ids)
        await asyncio.sleep(0)
        parts = await _parts(ids, shown)
        await asyncio.sleep(0)
        said = "\n".join((FORM, version, told, day.isoformat(), *ids))
        return Listed(
            key=key,
            ids=ids,
            entries=shown,
            parts=parts,
            tag=f'"{hashlib.sha256(said.encode()).hexdigest()[:32]}"',
        )

    async def _aliases(self, day: dt.date) -> dict[str, bytes]:
        def described(model: Model) -> dict[str, Any]:
            return describe(model, self._roster, day)

        found: dict[str, bytes] = {}
        for number, name in enumerate(self._catalogue.aliases(), 1):
            entry = alias_entry(self._catalogue, self._shelf.serves, described, name)
            if entry is not None:
                found[name] = _encode(entry)
            if number % ENTRIES_AT_ONCE == 0:
                await asyncio.sleep(0)
        return found


async def _parts(ids: tuple[str, ...], entries: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """All entries as one answer in several parts: in one piece it would be megabytes to copy at once."""
    parts = [b'{"object":"list","data":[']
    for start in range(0, len(entries), ENTRIES_A_PART):
        part = b",".join(entries[start : start + ENTRIES_A_PART])
        parts.append(b"," + part if start else part)
        await asyncio.sleep(0)
    return (*parts, b"]," + _place(ids, more=False))
