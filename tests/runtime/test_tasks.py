import asyncio
import contextlib
import json

import pytest

from runtime.tasks import Vital, noted


async def fails():
    raise ValueError("broken")


async def returns():
    return None


async def lives():
    await asyncio.Event().wait()


@pytest.fixture
async def vital():
    """The tasks of one service."""
    tasks = Vital()
    yield tasks
    await tasks.close()


@pytest.mark.parametrize("may_return", [False, True])
async def test_a_task_that_fails_ends_its_service(vital, may_return):
    """What ends a vital task ends the wait for the stop, even if the task may return."""
    vital.start("one", lives())
    vital.start("two", fails(), may_return=may_return)
    with pytest.raises(ValueError, match="broken"):
        await vital.until(asyncio.Event())


async def test_a_task_that_just_returns_ends_its_service(vital):
    """A task that should never end and does is named, unless it may return."""
    vital.start("one", returns(), may_return=True)
    vital.start("two", returns())
    with pytest.raises(RuntimeError, match="two ended by itself"):
        await vital.until(asyncio.Event())


async def test_a_cancelled_task_ends_its_service(vital):
    """A task that somebody else cancels is missed."""
    vital.start("one", lives(), may_return=True).cancel()
    with pytest.raises(RuntimeError, match="one ended by itself"):
        await vital.until(asyncio.Event())


async def test_a_stop_is_no_failure(vital):
    """The wait ends with the stop, and what still runs is cancelled at the close."""
    task = vital.start("one", lives())
    vital.start("two", returns(), may_return=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    await vital.until(stop)
    assert not task.done()
    await vital.close()
    assert task.cancelled()


async def test_an_occasional_task_tells_what_ended_it(capsys):
    """A task that nobody awaits leaves a line when it fails, and none else."""
    for work in (fails(), returns(), lives()):
        task = asyncio.create_task(work, name="gate")
        noted(task)
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        with contextlib.suppress(ValueError, asyncio.CancelledError):
            await task
    await asyncio.sleep(0)
    (line,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert line["task"] == "gate"
    assert "ValueError: broken" in line["exception"]
