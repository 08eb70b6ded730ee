"""Owns one Messages call: its request, and its answer told to callers of other dialects."""

from typing import Final

import msgspec

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.dialects.blobs import Blob
from schemas.json import UNREADABLE, mending
from schemas.money.pricing import TokenUsage
from workers.answers.base import Answer
from workers.answers.said import Said
from workers.providers.anthropic import answer as wire
from workers.providers.anthropic.errors import fault_of_event
from workers.providers.anthropic.messages import THOUGHT, Json
from workers.providers.anthropic.request import Built
from workers.providers.anthropic.tally import Tally
from workers.providers.anthropic.thinking import without_reasoning
from workers.providers.base import Fault
from workers.providers.faults import CUT, NONSENSE
from workers.upstream.halves import Halves
from workers.upstream.request import UpstreamRequest
from workers.upstream.sse import EventReader, EventTooLargeError

BASE_URL: Final = "https://api.anthropic.com"
VERSION: Final = "2023-06-01"  # later versions refuse sampling parameters even at their defaults

FAMILY: Final = "anthropic"

_OTHER: Final = ""


class AnthropicExchange:
    """One Messages call."""

    __slots__ = (
        "_answer_tool",
        "_block",
        "_body",
        "_events",
        "_halves",
        "_more",
        "_output_max",
        "_reason",
        "_render",
        "_stream",
        "_tally",
        "_thinking",
        "_upstream",
        "_version",
        "fault",
        "finished",
        "output_bytes",
        "thoughts",
        "unsure",
        "uplifts",
        "usage",
    )

    def __init__(self, job: Job, built: Built, render: Answer) -> None:
        self._stream = job.stream
        self._output_max = job.limit
        self._body = built.body
        self._answer_tool = built.answer_tool
        self._upstream = job.upstream
        self._version = VERSION
        self._more: dict[str, str] = {}  # further headers
        self._render = render
        self._restart()

    def _restart(self) -> None:
        self.usage: TokenUsage | None = None
        self.output_bytes = 0
        self.uplifts: tuple[str, ...] = ()
        self.finished = False
        self.fault: Fault | None = None
        self.thoughts: dict[str, str] = {}
        self.unsure = False
        self._events = EventReader()
        self._halves = Halves()
        self._tally = Tally()
        self._reason: str | None = None
        self._block = _OTHER  # the type of the block under way
        self._thinking: list[str] = []  # and its reasoning so far
        self._render.restart()

    @property
    def said(self) -> Said:
        """The output so far."""
        return self._render.said

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The call with one account's key; forgets what an earlier try has read."""
        self._restart()
        headers = {
            "x-api-key": account.api_key,
            "anthropic-version": self._version,
            "content-type": "application/json",
            "accept": "text/event-stream" if self._stream else "application/json",
            **self._more,
        }
        base = account.base_url.rstrip("/") or BASE_URL
        return UpstreamRequest("POST", f"{base}/v1/messages", headers, self._body)

    def forget_thoughts(self) -> bool:
        """Takes earlier reasoning out of the request: what another provider or account gave cannot be verified."""
        bare = without_reasoning(self._body)
        self._body = bare or self._body
        return bare is not None

    def answer(self, body: bytes) -> bytes:
        """The caller's body for a whole 2xx answer."""
        try:
            message = mending(wire.decode_message, body)
        except UNREADABLE:
            self.fault = NONSENSE
            return b""
        if message.error is not None or message.type != "message" or message.stop_reason is None:
            self.fault = NONSENSE if message.error is None else fault_of_event(message.error, unbilled=True)
            return b""
        self._count(message.usage)
        self._render.open(0)
        for block in message.content:
            self._open_block(block)
            if self._block == "tool_use":
                self._fragment(msgspec.json.format(bytes(block.input), indent=-1).decode())
            self._end_block()
        self._reason = message.stop_reason
        out = self._finish()
        self.output_bytes = self._render.output_bytes
        return out

    def feed(self, data: bytes) -> bytes:
        """The caller's events for some bytes of the stream."""
        if self._over():
            return b""
        try:
            events = self._events.feed(data)
        except EventTooLargeError:
            self.fault = NONSENSE
            return b""
        out: list[bytes] = []
        for raw in events:
            try:
                out += self._halves.each(self._read, raw)
            except UNREADABLE:
                self.fault = NONSENSE
            if self._over():
                break
        self.output_bytes = self._render.output_bytes
        return b"".join(out)

    def close(self) -> bytes:
        """What a last event without its blank line still says. A stream that ends without its message_stop was cut."""
        if self._over():
            return b""
        out = b""
        try:
            if (rest := self._events.end()) and wire.decode_event(rest).type == "message_stop":
                out = self._read(rest)
        except UNREADABLE:
            self.fault = CUT
        if not self._over():
            self.fault = CUT
        return out

    def _over(self) -> bool:
        return self.finished or self.fault is not None

    def _read(self, raw: bytes) -> bytes:
        """The caller's events for one of the provider's. Raises UNREADABLE."""
        return self._event(wire.decode_event(raw))

    def _event(self, event: wire.Event) -> bytes:
        match event.type:
            case "content_block_delta" if event.delta is not None:
                return self._delta(event.delta)
            case "content_block_start" if event.content_block is not None:
                return self._open_block(event.content_block)
            case "content_block_stop":
                return self._end_block()
            case "message_start" if event.message is not None:
                self._count(event.message.usage)
                self._tally.opened = True
                return self._render.open(0)
            case "message_delta":
                self._count(event.usage)
                if event.delta is not None:
                    self._reason = event.delta.stop_reason or self._reason
            case "message_stop":
                return self._finish()
            case "error":
                self.fault = fault_of_event(event.error, unbilled=self._tally.totals is None)
        return b""

    def _open_block(self, block: wire.Block) -> bytes:
        self._block = block.type
        self._tally.produced = True
        match block.type:
            case "text":
                return self._text(block.text or "")
            case "tool_use":
                if not self._answer_tool:
                    return self._render.tool(0, block.id, block.name)
            case "thinking":
                self._thinking = []
                return self._think(block.thinking or "") + self._sign(block.signature or "")
            case "redacted_thinking" if block.data:
                return self._render.signature(0, self._blob({"type": block.type, "data": block.data}))
        return b""

    def _delta(self, delta: wire.Delta) -> bytes:
        match delta.type:
            case "text_delta":
                return self._text(delta.text or "")
            case "input_json_delta":
                return self._fragment(delta.partial_json or "") if self._block == "tool_use" else b""
            case "thinking_delta":
                return self._think(delta.thinking or "")
            case "signature_delta":
                return self._sign(delta.signature or "")
        return b""

    def _think(self, text: str) -> bytes:
        self._thinking.append(text)
        return self._render.reasoning(0, text)

    def _sign(self, signature: str) -> bytes:
        if not signature:
            return b""
        self._tally.produced = True
        block = {"type": "thinking", "thinking": "".join(self._thinking), "signature": signature}
        return self._render.signature(0, self._blob(block))

    def _blob(self, block: Json) -> Blob:
        return Blob(FAMILY, self._upstream, THOUGHT, msgspec.json.encode(block).decode())

    def _text(self, text: str) -> bytes:
        if self._answer_tool:
            # The answer is the tool's input; words around it would spoil its JSON.
            self._render.hidden(text)
            return b""
        return self._render.text(0, text)

    def _fragment(self, text: str) -> bytes:
        if self._answer_tool:
            return self._render.text(0, text)
        return self._render.arguments(0, text)

    def _end_block(self) -> bytes:
        ended, self._block = self._block, _OTHER
        return self._render.tool_end(0) if ended == "tool_use" and not self._answer_tool else b""

    def _count(self, usage: wire.Usage | None) -> None:
        if usage is not None:
            self.usage, self.uplifts = self._tally.count(usage)

    def _finish(self) -> bytes:
        if self._reason is None:
            self.fault = NONSENSE
            return b""
        reason = wire.FINISH.get(self._reason, "stop")
        if reason == "tool_calls" and not self._render.tool_calls(0):
            reason = "stop"
        self._have_counted()
        self.finished = True
        return self._render.finish(0, reason) + self._render.end(self.usage, self.uplifts)

    def _have_counted(self) -> None:
        """The answer is whole: its usage is what is believed of it."""
        refused = self._reason == "refusal"
        self.usage, self.unsure = self._tally.believed(
            self.usage, self._render.said, self._upstream, self._output_max, refused=refused
        )
