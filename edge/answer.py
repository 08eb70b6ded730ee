"""Owns how a call becomes an HTTP answer: plain in one piece, or a stream of events with pings and in-band errors."""

from edge import telemetry
from edge.call import Call
from edge.exchange import DONE, PING, Exchange
from schemas.errors import WireError, internal


async def plain(exchange: Exchange, call: Call) -> None:
    """Answers in one piece, after the end: a body means a durable bill."""
    while not (call.ended or call.left):
        await call.wait()
    if call.left:
        return
    if call.error is not None:
        await exchange.refuse(call.error)
        return
    body = call.take()
    if not body:
        await exchange.refuse(internal())
        return
    await exchange.answer(200, body)


async def stream(exchange: Exchange, call: Call) -> None:
    """Answers with events. The head waits for the first of them, so that an early failure has a real status."""
    while not call.left:
        data = call.take()
        if call.ended:
            await _finish(exchange, data, call.error)
            return
        if not data:
            if not call.ping_due:
                await call.wait()
                continue
            data = PING
            call.pinged()
        if not exchange.status:
            await exchange.open_stream()
        await exchange.write(data)


async def _finish(exchange: Exchange, data: bytes, error: WireError | None) -> None:
    if error is not None:
        if not exchange.status and not data:
            await exchange.refuse(error)
            return
        data += error.event()
    if not exchange.status:
        await exchange.open_stream()
    await exchange.finish(data + DONE)


def measure(route: str, call: Call) -> None:
    """Counts a call that has been answered."""
    how = "left" if call.left else "error" if call.error else "ok"
    telemetry.count_call(route, how, call.first_data - call.created if call.first_data else None)
