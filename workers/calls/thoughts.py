"""Owns thought signatures between turns: kept in a key-value bucket by tool-call id, since any worker may come next."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping

from runtime.bus.bus import Bus, BusError
from runtime.log import get_logger
from schemas.bus import subjects

FETCH_S = 0.5  # a call never waits longer for them; without one it goes on
FETCHED_MAX = 128
SIGNATURE_BYTES_MAX = 128 * 1024

_logger = get_logger("workers.thoughts")


def _key(call_id: str) -> str:
    # Tool-call ids come from callers: hashed, they cannot become anything but one token of a subject.
    return hashlib.sha256(call_id.encode(errors="surrogatepass")).hexdigest()[:48]


async def fetch(bus: Bus, call_ids: Iterable[str]) -> dict[str, str]:
    """The signatures that are known, by tool-call id. Failures cost only the signatures."""
    wanted = list(dict.fromkeys(call_ids))[-FETCHED_MAX:]
    if not wanted:
        return {}
    answers = await asyncio.gather(
        *(bus.request(subjects.thought_read(_key(call_id)), b"", FETCH_S) for call_id in wanted),
        return_exceptions=True,
    )
    found: dict[str, str] = {}
    for call_id, answer in zip(wanted, answers, strict=True):
        if isinstance(answer, bytes) and answer:
            found[call_id] = answer.decode(errors="replace")
        elif isinstance(answer, BaseException) and not isinstance(answer, BusError):
            raise answer
    return found


def store(bus: Bus, thoughts: Mapping[str, str]) -> None:
    """Keeps signatures. A failure is logged, never raised: the next turn does without."""
    for call_id, signature in thoughts.items():
        data = signature.encode()
        if len(data) > SIGNATURE_BYTES_MAX:
            continue
        try:
            bus.publish(subjects.thought(_key(call_id)), data)
        except BusError as error:
            _logger.warning("thought signature not kept", error=type(error).__name__)
