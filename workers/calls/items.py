"""Owns finished items between turns: what an answer leaves in the bucket, and what references in a request stand for."""

import asyncio
import time
from collections import defaultdict, deque
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from runtime.bus.bus import Bus, BusError, NoResponders
from runtime.log import get_logger
from schemas.bus import subjects
from schemas.bus.frames import Job
from schemas.errors import unavailable
from schemas.json import UNREADABLE
from schemas.responses.items import REFERENCE, kind_of
from schemas.responses.marks import is_true, within
from schemas.responses.references import is_lossless, item_not_found
from schemas.responses.request import Item
from workers.calls.sealed import RINGS, Ring, Seal, ring_of
from workers.providers.base import RefusedError

READ_S: Final = 2.0  # for all references of a call
# An answer's items are written once it has ended, and its caller may be faster: a miss is looked at again for so long.
ON_THE_WAY_S: Final = 1.0
POLL_S: Final = 0.05
WRITE_S: Final = 2.0
ANSWERS_WAITING_MAX: Final = 256
WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
ENDING_BYTES_MAX: Final = 4 * 1024 * 1024  # of one answer: twice what may be kept of it
ITEMS_MAX: Final = 32  # of one answer, the last of them: as many as the smallest ring has
DRAIN_S: Final = 2.0  # at a stop
_KEPT: Final = frozenset(
    (
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
    )
)
_DATA: Final = b"\ndata: "
_AWAY = unavailable("Earlier items cannot be read now. Retry with backoff.")
_logger = get_logger("workers.items")


class _Answered(Struct, frozen=True):
    output: list[Raw] = []


class _Last(Struct, frozen=True):
    response: _Answered = _Answered()


class _Done(Struct):
    error: dict[str, Any] | None = None


_decode_answer = msgspec.json.Decoder(_Answered).decode
_decode_last = msgspec.json.Decoder(_Last).decode
_decode_item = msgspec.json.Decoder(Item).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_done = msgspec.json.Decoder(_Done).decode
_encode = msgspec.json.Encoder().encode


class Keeper:
    """Puts the items of one pool's answers into the bucket, one answer after another. No call waits for it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: deque[tuple[str, bytes, bool]] = (
            deque()
        )  # scope, last events or body, which of the two
        self._waiting_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self.kept = 0
        self.dropped = 0  # answers that found no room to wait, and items that could not be written

    def keep(self, job: Job, ending: bytes) -> None:
        """Queues the items of an answer that has ended: `ending` is its last events, or the whole plain body."""
        full = len(self._waiting) >= ANSWERS_WAITING_MAX or len(ending) > ENDING_BYTES_MAX
        if full or self._waiting_bytes + len(ending) > WAITING_BYTES_MAX:
            self.dropped += 1
            return
        self._waiting.append((job.scope, ending, job.stream))
        self._waiting_bytes += len(ending)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all(), name="items")

    async def drain(self) -> None:
        """Waits for what is queued, DRAIN_S at most."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=DRAIN_S)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _write_all(self) -> None:
        while self._waiting:
            scope, ending, stream = self._waiting.popleft()
            self._waiting_bytes -= len(ending)
            try:
                await self._write(scope, finished(scope, ending, stream=stream))
            except Exception:  # one answer's trouble must not end the next ones'
                self.dropped += 1
                _logger.exception("items not kept")

    async def _write(self, scope: str, items: list[tuple[str, bytes]]) -> None:
        if not items:
            return
        seal = Seal(scope)
        by_ring: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        for item_id, data in items:
            by_ring[ring_of(len(data)).name].append((item_id, data))
        for ring in RINGS:
            if ring.name not in by_ring:
                continue
            try:
                await self._put(seal, ring, by_ring[ring.name])
            except BusError as error:
                self.dropped += len(by_ring[ring.name])
                _logger.warning("items not kept", error=type(error).__name__)

    async def _put(self, seal: Seal, ring: Ring, items: list[tuple[str, bytes]]) -> None:
        # Room is made first, of this scope's own oldest: where that fails nothing is written.
        left = ring.items_max - len(items)
        room = {"filter": subjects.item(f"{seal.name}.{ring.name}.>")} | ({"keep": left} if left else {})
        answer = await self._bus.request(subjects.ITEMS_PURGE, _encode(room), WRITE_S)
        if (error := _decode_done(answer).error) is not None:
            raise BusError(str(error.get("description", "no room was made")))
        writes = []
        for item_id, data in items:
            key = seal.key(ring.name, item_id)
            closed = seal.close(item_id, data)
            writes.append(self._bus.js_publish(subjects.item(key), closed, key, WRITE_S))
        for outcome in await asyncio.gather(*writes, return_exceptions=True):
            if outcome is None:
                self.kept += 1
                continue
            self.dropped += 1
            _logger.warning("an item is not kept", error=type(outcome).__name__)


def finished(scope: str, ending: bytes, *, stream: bool) -> list[tuple[str, bytes]]:
    """The ids and the JSON of the items that an answer ended with, as far as they keep to their marks."""
    try:
        if stream:
            data = ending.partition(_DATA)[2].partition(b"\n")[0]
            output = _decode_last(data).response.output
        else:
            output = _decode_answer(ending).output
        items = [(_decode_item(raw), bytes(raw)) for raw in output]
    except UNREADABLE:
        return []
    known = [
        (item.id, data)
        for item, data in items
        if item.id
        and item.type in _KEPT
        and (item.type != "reasoning" or item.encrypted_content)  # a summary alone is nothing to its provider
        and is_true(scope, item.id)
    ]
    return within(known)[-ITEMS_MAX:]


async def resolve(bus: Bus, job: Job) -> Job:
    """The job with its references' items in their places, and their bytes among those of its text.

    Reasoning that is not there is left out. Raises RefusedError: 404 for any other item, 503 while nothing can be read.
    """
    found = await _fetch(bus, job)
    fields = _decode_map(job.body)
    wanted = frozenset(job.references)
    items: list[Raw] = []
    for raw in _decode_items(fields["input"]):
        item = _decode_item(raw)
        if item.id not in wanted or kind_of(item) != REFERENCE:
            items.append(raw)
        elif item.id in found:
            items.append(Raw(found[item.id]))
    fields["input"] = Raw(_encode(items))
    body = _encode(fields)
    added = sum(map(len, found.values()))
    return structs.replace(job, body=body, body_bytes=len(body), text_bytes=job.text_bytes + added)


async def _fetch(bus: Bus, job: Job) -> dict[str, bytes]:
    """The items that are there, by id. One that is not is looked for again while it may be on its way."""
    seal, found = Seal(job.scope), dict[str, bytes]()
    until = time.monotonic() + ON_THE_WAY_S
    while True:
        missing = [item_id for item_id in job.references if item_id not in found]
        problems: dict[str, BaseException] = {}
        outcomes = await asyncio.gather(
            *(_read(bus, seal, item_id) for item_id in missing), return_exceptions=True
        )
        for item_id, outcome in zip(missing, outcomes, strict=True):
            if isinstance(outcome, bytes):
                found[item_id] = outcome
            elif isinstance(outcome, BaseException):
                problems[item_id] = outcome
        lost = next((one for one in missing if one not in found and not is_lossless(one)), None)
        if lost is None:
            return found
        if time.monotonic() >= until:
            problem = problems.get(lost)
            # Where no bucket is there is nothing to wait for.
            if problem is None or isinstance(problem, NoResponders):
                raise RefusedError(item_not_found(lost))
            raise RefusedError(_AWAY) if isinstance(problem, BusError) else problem
        await asyncio.sleep(POLL_S)


async def _read(bus: Bus, seal: Seal, item_id: str) -> bytes | None:
    newest = {"last_by_subj": subjects.item(seal.key("*", item_id))}
    answer = await bus.request(subjects.ITEM_READ, _encode(newest), READ_S)
    return seal.open(item_id, answer) if answer else None
