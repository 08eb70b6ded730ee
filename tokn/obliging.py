"""Owns the reloads that a child of `tokn up` asks for, on behalf of somebody whose right it has looked at: the ledger alone."""

import asyncio
from typing import Self

from runtime.reload import Reloads
from tokn.asking import Question, answer_to
from tokn.child import Child
from tokn.handing import ERROR_CHARS_MAX, Answered, Told
from tokn.supervisor import Supervisor

WAITING_MAX = 8  # that one deployment is asked for at once
_MANY = "too many reloads are asked for at once: ask again in a moment"


class Obliging:
    """Answers children. Use as a context manager."""

    def __init__(self, supervisor: Supervisor, reloads: Reloads) -> None:
        self._supervisor = supervisor
        self._reloads = reloads
        self._answers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._supervisor.asked = self._asked
        return self

    async def __aexit__(self, *_: object) -> None:
        # A reload that goes on would start what the end of `tokn up` no longer stops.
        self._supervisor.asked = None
        for answer in self._answers:
            answer.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    def _asked(self, child: Child, line: Told) -> None:
        if not child.program.asks:
            return
        if len(self._answers) >= WAITING_MAX:
            child.send(Answered(line.asks, error=_MANY))
            return
        answer = asyncio.create_task(self._answer(child, line), name="a reload for a child")
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, child: Child, line: Told) -> None:
        came = await answer_to(self._reloads, Question(line.check))
        child.send(Answered(line.asks, came.generation, came.changes, came.error[:ERROR_CHARS_MAX]))
