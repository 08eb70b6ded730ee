"""Owns what becomes of tasks that nobody awaits: the vital ones end their service when they end, the others tell why."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from runtime.log import get_logger

_logger = get_logger("runtime.tasks")


class Vital:
    """The tasks without which a service only looks alive: a supervisor can start it again once it has ended."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []
        self._others = asyncio.Event()  # there are others than those that are watched

    def start(
        self, name: str, work: Coroutine[Any, Any, Any], *, may_return: bool = False
    ) -> asyncio.Task[Any]:
        """Runs something until `close`. What `may_return` has an end of its own; nothing may end by an exception."""
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        self._others.set()
        if may_return:
            task.add_done_callback(self._returned)
        return task

    def _returned(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._tasks.remove(task)

    async def end(self, task: asyncio.Task[Any]) -> None:
        """Cancels one that is needed no longer, and waits for its end."""
        if task in self._tasks:
            self._tasks.remove(task)
        task.cancel()
        await asyncio.wait([task])

    async def until(self, stop: asyncio.Event) -> None:
        """Waits until `stop` is set. Raises what ended a task before that, RuntimeError for one that just returned."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stopping.done():
                self._others.clear()
                others = asyncio.create_task(self._others.wait())
                watched = list(self._tasks)
                await asyncio.wait([stopping, others, *watched], return_when=asyncio.FIRST_COMPLETED)
                others.cancel()
                for task in self._tasks:  # without those that may return, and have
                    if task.done():
                        raise _why(task)
        finally:
            stopping.cancel()

    async def close(self) -> None:
        """Cancels what still runs, and waits for its end."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _why(task: asyncio.Task[Any]) -> BaseException:
    error = None if task.cancelled() else task.exception()
    return error or RuntimeError(f"{task.get_name()} ended by itself")


def noted(task: asyncio.Task[Any]) -> None:
    """Has a task whose work is begun again when there is more of it tell what ended it before its end."""
    task.add_done_callback(_note)


def _note(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.error("a task failed", task=task.get_name(), exc_info=error)
