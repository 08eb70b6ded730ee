"""Owns how a call becomes an HTTP answer: plain in one piece, or a stream of events with pings and in-band errors."""

import asyncio

from edge import telemetry
from edge.calls.call import Call
from edge.http.exchange import Exchange
from edge.http.heading import (
    answer_headers,
    cost_header,
    granted_header,
    ignored_header,
    model_header,
    queue_header,
)
from schemas.dialects.base import Dialect, Ending
from schemas.errors import WireError, internal


async def plain(exchange: Exchange, call: Call) -> None:
    """Answers in one piece, after the end: a body means a durable bill."""
    if not (call.ended or call.left):
        await _end(call)
    if call.left:
        return
    if call.error is not None:
        await _refuse(exchange, call.error, call)
        return
    body = call.take()
    if not body:
        await exchange.refuse(internal())
        return
    headers = _headers(call, begun=True)
    if call.current.billed_nano is not None:
        headers.append(cost_header(call.current.billed_nano))
    await exchange.answer(200, body, *headers)


def _headers(call: Call, *, begun: bool) -> list[tuple[bytes, bytes]]:
    """Further headers of an answer. Before it has begun, nobody knows which model will serve."""
    headers = answer_headers(call.current.headers)
    if begun:
        headers += call.notice
    if call.granted is not None and (begun or not call.others):
        headers.append(granted_header(call.granted))
    if call.tells_model and begun:
        headers.append(model_header(call.model))
    if call.dropped and (begun or not call.tells_model):
        headers.append(ignored_header(call.dropped))
    if call.queue_ms:
        headers.append(queue_header(call.queue_ms))
    return headers


async def _refuse(exchange: Exchange, error: WireError, call: Call) -> None:
    """Answers with an error, and says how long the call had to wait to be offered."""
    await exchange.refuse(error, *([queue_header(call.queue_ms)] if call.queue_ms else []))


async def _end(call: Call) -> None:
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look() -> None:
        if (call.ended or call.left) and not over.done():
            over.set_result(None)

    call.listen(look)
    try:
        await over
    finally:
        call.listen(None)


async def stream(exchange: Exchange, call: Call, dialect: Dialect) -> None:
    """Answers with events. The head waits for the first of them, so that an early failure has a real status."""
    writer = _StreamWriter(exchange, call, dialect)
    call.listen(writer.schedule)
    exchange.connection.on_writable(writer.schedule)
    try:
        writer.schedule()
        error = await writer.over
    finally:
        exchange.connection.on_writable(None)
        call.listen(None)
    if error is not None:
        await _refuse(exchange, error, call)


class _StreamWriter:
    """Writes a call's events to its caller from the loop itself: no task is woken for a chunk.

    What arrives in one iteration of the loop leaves as one write, and nothing is delayed beyond that. `over` is done
    when the stream is; its value is the error that the caller gets as a status, if nothing was sent before it.
    """

    def __init__(self, exchange: Exchange, call: Call, dialect: Dialect) -> None:
        self._exchange = exchange
        self._call = call
        self._dialect = dialect
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._cut = False  # what was written ends inside an event, which was too large for a frame
        self.over: asyncio.Future[WireError | None] = self._loop.create_future()

    def schedule(self) -> None:
        """There may be something to write."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self.over.done():
            return
        try:
            self._write()
        except Exception as error:  # noqa: BLE001  raised where the request is handled
            self.over.set_exception(error)

    def _write(self) -> None:
        exchange, call = self._exchange, self._call
        if call.left:
            self.over.set_result(None)
        elif exchange.writable:
            data = call.take()
            if not exchange.status:
                exchange.extra = _headers(call, begun=bool(data) or call.ended)
            if call.ended:
                self._finish(data, call.error)
            elif data:
                self._cut = not data.endswith(self._dialect.event_end)
                exchange.write(data)
            elif call.ping_due:
                call.pinged()
                if not self._cut:
                    exchange.write(self._dialect.ping)

    def _finish(self, data: bytes, error: WireError | None) -> None:
        if error is not None and not data and not self._exchange.status:
            self.over.set_result(error)
            return
        attempt = self._call.current
        ending = Ending(self._call.request_id, self._call.model, attempt.events, attempt.offered_ms // 1000)
        if error is not None:
            self._exchange.refused = error
            if data:
                self._cut = not data.endswith(self._dialect.event_end)
            if self._cut:
                # Half an event and an error make nonsense; a connection that breaks is an error to every client.
                self._exchange.connection.abort()
                self.over.set_result(None)
                return
            data += self._dialect.error_event(error, ending)
        self._exchange.finish(data + self._dialect.end(ending))
        self.over.set_result(None)


def measure(dialect: str, call: Call) -> None:
    """Counts a call that has been answered."""
    how = "left" if call.left else "error" if call.error else "ok"
    telemetry.count_call(dialect, how, None if call.first_data is None else call.first_data - call.created)
