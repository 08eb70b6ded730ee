"""Owns the Titan text models of Bedrock: InvokeModel in their own format, with a chat as a transcript."""

# ruff: noqa: N815  the API's names

from base64 import b64decode
from typing import Final

import msgspec
from msgspec import Struct

from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.chat.request import ChatRequest, Message, RefusalPart, TextPart
from schemas.errors import invalid, unsupported_parameter, unsupported_value
from schemas.json import UNREADABLE, mending
from schemas.money.pricing import TokenUsage
from workers.answers.base import Answer
from workers.providers.base import RefusedError
from workers.providers.bedrock.auth import Signer
from workers.providers.bedrock.errors import MALFORMED
from workers.providers.bedrock.event_stream import FrameError
from workers.providers.bedrock.messages import Json
from workers.providers.bedrock.request import sampling, stops
from workers.providers.bedrock.stream import BedrockExchange
from workers.providers.counts import believed
from workers.providers.faults import CUT, NONSENSE

FINISH: Final = {
    "FINISH": "stop",
    "FINISHED": "stop",
    "STOP_CRITERIA_MET": "stop",
    "LENGTH": "length",
    "CONTENT_FILTERED": "content_filter",
}
FAILED_REASONS: Final = frozenset({"RAG_QUERY_WHEN_RAG_DISABLED"})
_SPEAKERS: Final = {"assistant": "Bot", "user": "User"}


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
    config: Json = {"maxTokenCount": max(1, min(job.limit, model.max_output))}
    config |= sampling(request)
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


class TitanExchange(BedrockExchange):
    """One InvokeModel call, plain or with a response stream."""

    def __init__(self, job: Job, model: Model, body: bytes, answer: Answer, signer: Signer) -> None:
        verb, accept = "invoke", "Accept"
        if job.stream:
            verb, accept = "invoke-with-response-stream", "X-Amzn-Bedrock-Accept"
        super().__init__(model, body, answer, signer, verb=verb, accept=accept)

    def _restart(self) -> None:
        super()._restart()
        self._spoken = False  # something other than leading newlines has come
        self._input: int | None = None
        self._output: int | None = None

    def answer(self, body: bytes) -> bytes:
        """The caller's body for a whole 2xx answer."""
        try:
            answer = mending(_decode_answer, body)
        except UNREADABLE:
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

    def close(self) -> bytes:
        """The end of file: a fault unless the reason had come, and what the answer cost."""
        if self.fault is not None or self.finished:
            return b""
        return self._end()

    def _event(self, name: str, payload: bytes) -> bytes:
        if name != "chunk":
            return b""
        chunk = _decode_chunk(_unwrapped(payload))
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
            self.usage = believed(TokenUsage(input=self._input, output=self._output))
        if self._reason in FAILED_REASONS:
            self.fault = MALFORMED
        elif self._reason is None or self._input is None or self._output is None:
            self.fault = CUT
        if self.fault is not None:
            return b""
        self.finished = True
        # An unknown reason is a way of ending that is newer than this table.
        finish = self._render.finish(0, FINISH.get(self._reason or "", "stop"))
        return finish + self._render.end(self.usage, self.uplifts)


def _unwrapped(payload: bytes) -> bytes:
    try:
        return b64decode(_decode_part(payload).bytes, validate=True)
    except ValueError as error:
        raise FrameError("a chunk is not base64") from error
