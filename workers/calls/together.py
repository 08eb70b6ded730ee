"""Owns calls of one job that run side by side: the parts of a split batch, the first alone and then some at once."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from workers.calls.delivery import Delivery
from workers.providers.base import Exchange

Ask = Callable[[Exchange, Delivery], Coroutine[Any, Any, bool | None]]


async def together(
    exchanges: Sequence[Exchange],
    delivery: Delivery,
    ask: Ask,
    *,
    at_once: int,
    goes_on: Callable[[], bool],
) -> bool:
    """Whether all were served. What came of them is `delivery`'s then.

    `ask` makes one call and says whether it was served, or None if there is no room for it beside the one that has
    `delivery`. The first goes alone: what is wrong with all of them costs one call. Once one fails no other begins, and
    those under way are waited for, since only their ends tell what they have used. Raises what `ask` raises.
    """
    waiting = deque(exchanges)
    served = await ask(waiting.popleft(), delivery)
    if not served or not waiting:
        return bool(served)
    failed = False

    async def lane(own: Delivery) -> None:
        nonlocal failed
        while waiting and not failed and goes_on():
            exchange = waiting.popleft()
            served = await ask(exchange, own)
            if served is None:
                waiting.appendleft(exchange)
                return
            failed = failed or not served

    others = [delivery.beside() for _ in range(min(at_once, len(waiting)) - 1)]
    try:
        async with asyncio.TaskGroup() as group:
            for own in (delivery, *others):
                group.create_task(lane(own))
    except ExceptionGroup as raised:
        raise raised.exceptions[0] from None
    finally:
        delivery.gather()
    return not failed and not waiting
