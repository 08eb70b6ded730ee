"""Owns asking a provider for its own count of a long prompt whose caller has left: for free, briefly, and a few at once."""

import asyncio
from collections import Counter
from typing import Final

from workers.providers.base import CountsPrompts, Family
from workers.upstream.http import Upstream, UpstreamError, read_all
from workers.upstream.request import UpstreamRequest

WORTH_TOKENS: Final = 50_000  # of a prompt, as estimated: of a shorter one the estimate is near enough
COUNT_S: Final = 3.0  # for the whole question: the caller's hold stays open meanwhile
COUNTS_MAX: Final = 8  # at once, all pools of a worker together
KEY_COUNTS_MAX: Final = 2  # of one key
ANSWER_BYTES_MAX: Final = 64 * 1024


class Counting:
    """The questions of one worker that are under way, by the scope of the key whose prompt it is."""

    def __init__(self) -> None:
        self._keys: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are under way."""
        return self._keys.total()

    async def ask(
        self, family: Family, upstream: Upstream, scope: str, request: UpstreamRequest
    ) -> int | None:
        """Tokens of the prompt of a request that was sent. None where its provider does not say, or there is no room."""
        if not isinstance(family, CountsPrompts):
            return None
        if self.count >= COUNTS_MAX or self._keys[scope] >= KEY_COUNTS_MAX:
            return None
        self._keys[scope] += 1
        try:
            async with asyncio.timeout(COUNT_S):
                return await _asked(family, upstream, request)
        except (UpstreamError, TimeoutError):
            return None
        finally:
            self._keys[scope] -= 1
            if not self._keys[scope]:
                del self._keys[scope]


async def _asked(family: CountsPrompts, upstream: Upstream, request: UpstreamRequest) -> int | None:
    question = await asyncio.to_thread(family.prompt_count, request)  # a body may have pictures of many MiB
    if question is None:
        return None
    answer = await upstream.open(question)
    try:
        body = await read_all(answer, ANSWER_BYTES_MAX) if answer.status == 200 else b""
        return family.counted(body) or None  # no prompt has none
    finally:
        answer.close()
