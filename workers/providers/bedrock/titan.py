"""Owns the Titan text models of Bedrock: InvokeModel in their own format, with a chat as a transcript."""

# ruff: noqa: N815  the API's names

from base64 import b64decode
from typing import Any, Final

import msgspec
from msgspec import Struct

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.chat.request import ChatRequest, Message, RefusalPart, TextPart
from schemas.errors import invalid, unsupported_parameter, unsupported_value
from schemas.json import UNREADABLE
from schemas.money.pricing import TokenUsage
from workers.answers.chat import Renderer
from workers.providers.base import Fault, RefusedError, UpstreamRequest
from workers.providers.bedrock.auth import Signer
from workers.providers.bedrock.errors import CUT, MALFORMED, NONSENSE, fault_of_exception
from workers.providers.bedrock.event_stream import FrameBuffer, FrameError, Head
from workers.providers.bedrock.request import stops

FINISH: Final = {
    "FINISH": "stop",
    "FINISHED": "stop",
    "STOP_CRITERIA_MET": "stop",
    "LENGTH": "length",
    "CONTENT_FILTERED": "content_filter",
}
FAILED_REASONS: Final = frozenset({"RAG_QUERY_WHEN_RAG_DISABLED"})
_HEADERS: Final = {"content-type": "application/json"}
_SPEAKERS: Final = {"assistant": "Bot", "user": "User"}
_UNREADABLE: Final = (*UNREADABLE, ValueError)  # ValueError is what base64 raises


class _Result(Struct):
    outputText: str | None = None
    tokenCount: int | None = None
    completionReason: str | None = None


class _Answer(Struct):
    results: list[_Result]
    inputTextTokenCount: int | None = None


class _Metrics(Struct):
    inputTokenCount: int = 0
    outputTokenCount: int = 0


class _Chunk(Struct):
    outputText: str | None = None
    totalOutputTextTokenCount: int | None = None
    completionReason: str | None = None
    inputTextTokenCount: int | None = None
    metrics: _Metrics | None = msgspec.field(name="amazon-bedrock-invocationMetrics", default=None)


class _Part(Struct):
    bytes: str


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_part = msgspec.json.Decoder(_Part).decode
_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_encode = msgspec.json.Encoder().encode


def build(request: ChatRequest, job: Job, model: Model) -> bytes:
    """The body of an InvokeModel call. Raises RefusedError for what Titan has no words for."""
    config: dict[str, Any] = {"maxTokenCount": max(1, min(job.limit, model.max_output))}
    if request.temperature is not None and request.temperature != 1:
        config["temperature"] = min(max(request.temperature, 0.0), 1.0)
    if request.top_p is not None and request.top_p != 1:
        config["topP"] = min(max(request.top_p, 0.0), 1.0)
    if sequences := stops(request):
        config["stopSequences"] = sequences
    return _encode({"inputText": transcript(request.messages), "textGenerationConfig": config})


def transcript(messages: list[Message]) -> str:
    """A conversation as the text that Titan was trained on: instructions, then its speakers' lines."""
    system: list[str] = []
    lines: list[str] = []
    for index, message in enumerate(messages):
        text = _text(message, index)
        if message.role in ("system", "developer"):
            system.append(text)
            continue
        speaker = _SPEAKERS.get(message.role)
        if speaker is None or message.tool_calls or message.function_call is not None:
            raise RefusedError(unsupported_parameter(f"messages.{index}", "This model has no tools."))
        lines.append(f"{speaker}: {text}")
    if not lines and not any(system):
        raise RefusedError(invalid("`messages` has no text.", param="messages"))
    return "\n".join([*(text for text in system if text), *lines, "Bot:"])


def _text(message: Message, index: int) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or message.refusal or ""
    texts: list[str] = []
    for k, part in enumerate(message.content):
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, RefusalPart):
            texts.append(part.refusal)
        else:
            raise RefusedError(
                unsupported_value(f"messages.{index}.content.{k}", "This model takes text only.")
            )
    return "".join(texts)


class TitanExchange:
    """One InvokeModel call, plain or with a response stream."""

    def __init__(self, job: Job, model: Model, body: bytes, renderer: Renderer, signer: Signer) -> None:
        self._stream = job.stream
        self._upstream = model.upstream
        self._body = body
        self._render = renderer
        self._signer = signer
        self._restart()

    def _restart(self) -> None:
        self.usage: TokenUsage | None = None
        self.uplifts: tuple[str, ...] = ()
        self.output_bytes = 0
        self.finished = False
        self.fault: Fault | None = None
        self.thoughts: dict[str, str] = {}
        self._buffer = FrameBuffer()
        self._begun = False
        self._spoken = False  # something other than leading newlines has come
        self._reason: str | None = None
        self._input: int | None = None
        self._output: int | None = None

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The signed call; forgets what an earlier try has read. Raises AccountError without credentials."""
        self._restart()
        self._render.restart()
        verb = "invoke-with-response-stream" if self._stream else "invoke"
        url, headers = self._signer.call(account, self._upstream, verb, _HEADERS, self._body)
        headers["X-Amzn-Bedrock-Accept" if self._stream else "Accept"] = "application/json"
        return UpstreamRequest("POST", url, headers, self._body)

    def answer(self, body: bytes) -> bytes:
        """The caller's body for a whole 2xx answer."""
        try:
            answer = _decode_answer(body)
        except _UNREADABLE:
            self.fault = NONSENSE
            return b""
        if not answer.results or answer.results[0].completionReason is None:
            self.fault = NONSENSE
            return b""
        result = answer.results[0]
        self._say(result.outputText or "")
        self.output_bytes = self._render.output_bytes
        self._reason = result.completionReason
        self._input, self._output = answer.inputTextTokenCount, result.tokenCount
        return self._end()

    def feed(self, data: bytes) -> bytes:
        """The caller's events for some bytes of the stream."""
        if self._over():
            return b""
        out: list[bytes] = []
        try:
            for head, payload in self._buffer.frames(data):
                out.append(self._frame(head, payload))
                if self._over():
                    break
        except (FrameError, *_UNREADABLE):
            self.fault = NONSENSE
        self.output_bytes = self._render.output_bytes
        return b"".join(out)

    def close(self) -> bytes:
        """The end of file: a fault unless the reason had come, and what the answer cost."""
        if self._over():
            return b""
        return self._end()

    def _over(self) -> bool:
        return self.fault is not None or self.finished

    def _frame(self, head: Head, payload: bytes) -> bytes:
        if head.kind != "event":
            self.fault = fault_of_exception(head.name, payload, head.message, begun=self._begun)
            return b""
        self._begun = True
        if head.name != "chunk":
            return b""
        chunk = _decode_chunk(b64decode(_decode_part(payload).bytes, validate=True))
        out = self._render.open(0) + self._say(chunk.outputText or "")
        if chunk.inputTextTokenCount is not None:
            self._input = chunk.inputTextTokenCount
        if chunk.totalOutputTextTokenCount is not None:
            self._output = chunk.totalOutputTextTokenCount
        if chunk.completionReason is not None:
            self._reason = chunk.completionReason
        if chunk.metrics is not None:
            self._input, self._output = chunk.metrics.inputTokenCount, chunk.metrics.outputTokenCount
            # The metrics are the last thing said; the reason may have come before them, never after.
            out += self._end()
        return out

    def _say(self, text: str) -> bytes:
        if not self._spoken:
            text = text.lstrip("\n")
            self._spoken = bool(text)
        return self._render.text(0, text) if text else b""

    def _end(self) -> bytes:
        if self._input is not None and self._output is not None:
            self.usage = TokenUsage(input=self._input, output=self._output)
        if self._reason in FAILED_REASONS:
            self.fault = MALFORMED
        elif self._reason is None or self.usage is None:
            self.fault = CUT
        if self.fault is not None or self.usage is None:
            return b""
        self.finished = True
        # An unknown reason is a way of ending that is newer than this table.
        finish = self._render.finish(0, FINISH.get(self._reason or "", "stop"))
        return finish + self._render.end(self.usage, self.uplifts)
