"""Owns the Gemini family: generateContent and its stream, on Google's own endpoint or one that speaks like it."""

import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import date
from typing import ClassVar, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.chat.request import ChatRequest
from schemas.dialects.blobs import Blob
from schemas.embeddings.request import EMBEDDINGS
from schemas.errors import upstream_auth, upstream_failed
from schemas.json import UNREADABLE, mending
from schemas.money.pricing import TokenUsage
from workers.answers.base import Answer
from workers.answers.said import Said
from workers.providers.base import Action, Exchange, Fault, RefusedError
from workers.providers.counts import believed, counted_on, figure
from workers.providers.embedding import wanted
from workers.providers.emulation import requests
from workers.providers.faults import CUT, NONSENSE
from workers.providers.gemini import answer as wire
from workers.providers.gemini.count import count_request, generates
from workers.providers.gemini.embeddings import GeminiEmbeddings
from workers.providers.gemini.errors import fault_of_body, fault_of_event
from workers.providers.gemini.models import GeminiReading
from workers.providers.gemini.request import THOUGHT, build
from workers.providers.history import brings_thoughts, messages_with_calls, without_thoughts
from workers.upstream.halves import Halves
from workers.upstream.request import UpstreamRequest
from workers.upstream.sse import EventReader, EventTooLargeError

BASE_URL: Final = "https://generativelanguage.googleapis.com"
FAMILY: Final = "gemini"
API_VERSION: Final = "v1beta"
THOUGHT_IDS_MAX: Final = 64  # calls whose signatures are looked up: the newest of a long history
TIER_HEADER: Final = "x-gemini-service-tier"
_STANDARD: Final = "standard"
_VARIANT: Final = re.compile(r"-(?:latest|\d{3}|preview.*|exp.*)$")
_encode = msgspec.json.Encoder().encode


def new_call_id() -> str:
    """An id for a call that the provider gave none."""
    return f"call_{secrets.token_hex(12)}"


class GeminiExchange:
    """One generateContent call."""

    def __init__(
        self, job: Job, model: Model, request: ChatRequest, thoughts: Mapping[str, str], answer: Answer
    ) -> None:
        self._job = job
        self._model = model
        self._request = request
        self._stream = job.stream
        self._output_max = job.limit * job.choices
        self._upstream = model.upstream
        self._tops = request.top_logprobs or 0
        self._tiers = (
            (request.service_tier,) if request.service_tier in model.capabilities.service_tiers else ()
        )
        self._signed = bool(thoughts) or brings_thoughts(request.messages)
        self._body = _encode(build(request, job, model, thoughts))
        self._render = answer
        self._restart()

    def _restart(self) -> None:
        self.usage: TokenUsage | None = None
        self.uplifts: tuple[str, ...] = tuple(tier for tier in self._tiers if tier)
        self.output_bytes = 0
        self.finished = False
        self.fault: Fault | None = None
        self.thoughts: dict[str, str] = {}
        self.unsure = False
        self._reader = EventReader()
        self._halves = Halves()
        self._totals: wire.Usage | None = None
        self._reasons: dict[int, str | None] = {}  # by candidate; the last one said counts
        self._blocked = False
        self._version = ""

    @property
    def said(self) -> Said:
        """The output so far."""
        return self._render.said

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The call with one account's key; forgets what an earlier try has read."""
        self._restart()
        self._render.restart()
        verb = "streamGenerateContent?alt=sse" if self._stream else "generateContent"
        base = (account.base_url or BASE_URL).rstrip("/")
        return UpstreamRequest(
            "POST",
            f"{base}/{API_VERSION}/models/{quote(self._upstream, safe='-._~')}:{verb}",
            {"x-goog-api-key": account.api_key, "content-type": "application/json"},
            self._body,
        )

    def forget_thoughts(self) -> bool:
        """Signs the running turn with the stand-in for lost signatures, and nothing else."""
        if not self._signed:
            return False
        self._signed = False
        bare = msgspec.structs.replace(self._request, messages=without_thoughts(self._request.messages))
        self._body = _encode(build(bare, self._job, self._model, {}))
        return True

    def head(self, headers: Mapping[str, str]) -> None:
        """The tier that serves: another than was asked for, where that one had no room."""
        tier = headers.get(TIER_HEADER)
        if tier is not None:
            self.uplifts = (tier,) if tier != _STANDARD else ()

    def answer(self, body: bytes) -> bytes:
        """The caller's body for a whole 2xx answer."""
        try:
            decoded = mending(wire.decode_answer, body)
        except UNREADABLE:
            self._fail(NONSENSE)
            return b""
        for chunk in decoded if isinstance(decoded, list) else [decoded]:
            if self.fault is None:
                self._take(chunk)
            if chunk.prompt_feedback is not None and not chunk.candidates:
                self._blocked = True
        out = self.close()
        self.output_bytes = self._render.output_bytes
        return out

    def feed(self, data: bytes) -> bytes:
        """The caller's events for some bytes of the stream."""
        if self.fault is not None:
            return b""
        try:
            events = self._reader.feed(data)
        except EventTooLargeError:
            self._fail(NONSENSE)
            return b""
        out = b""
        for chunk in self._chunks(events):
            out += self._take(chunk)
            if chunk.error is not None or self.fault is not None:
                break
        self.output_bytes = self._render.output_bytes
        return out

    def _chunks(self, events: list[bytes]) -> Iterator[wire.Chunk]:
        for event in events:
            try:
                yield from self._halves.each(wire.decode_chunk, event)
            except UNREADABLE:
                yield wire.Chunk(error=_wrapped_error(event))

    def close(self) -> bytes:
        """The finish of each choice and the usage. It waits for the end of file: some models say STOP on every chunk."""
        if self.fault is not None:
            return b""
        late = b"".join([self._take(wire.decode_chunk(event)) for _, event in self._halves.rest()])
        if self._blocked and not self._reasons:
            self._reasons[0] = wire.FINISH_OTHER
        if not self._reasons or None in self._reasons.values():
            self._fail(CUT if self._reasons else _empty())
            return b""
        self.finished = True
        out = late + b"".join(
            self._render.finish(index, reason)
            for index, reason in sorted(self._reasons.items())
            if reason is not None
        )
        self._fill_in()
        return out + self._render.end(self.usage, self.uplifts)

    def _fill_in(self) -> None:
        """What was produced and never counted: a figure that is left out means none where nothing was said."""
        totals, said_bytes = self._totals, self._render.output_bytes
        if self.usage is None or totals is None or not said_bytes:
            return
        self.unsure = totals.candidates_token_count is None and totals.thoughts_token_count is None
        if self.unsure:
            said = self._render.said.tokens(self._upstream)
            self.usage = counted_on(self.usage, said, self._output_max)

    def _fail(self, fault: Fault) -> None:
        self.fault = fault

    def _take(self, chunk: wire.Chunk) -> bytes:
        if chunk.error is not None:
            fault = fault_of_event(chunk.error)
            # A failure after output was served is billed; one that came instead of an answer is not.
            served = self.usage is not None or self._render.output_bytes > 0
            self._fail(msgspec.structs.replace(fault, unbilled=fault.unbilled and not served))
            return b""
        if chunk.usage_metadata is not None:
            self._totals = wire.merge_usage(self._totals, chunk.usage_metadata)
            untold = self._totals.prompt_token_count is None
            self.usage = None if untold else believed(wire.token_usage(self._totals))
            if chunk.usage_metadata.traffic_type is not None:
                self._note_tier(chunk.usage_metadata.traffic_type)
        if chunk.model_version and chunk.model_version != self._version:
            self._note_version(chunk.model_version)
        if chunk.candidates:
            if len(chunk.candidates) == 1:
                return self._candidate(chunk.candidates[0])
            return b"".join([self._candidate(candidate) for candidate in chunk.candidates])
        if chunk.prompt_feedback is not None and "blockReason" in chunk.prompt_feedback:
            self._blocked = True
        return b""

    def _candidate(self, candidate: wire.Candidate) -> bytes:
        index = candidate.index
        out = b""
        logprobs = candidate.logprobs_result
        entries = wire.chat_logprobs(logprobs, self._tops) if logprobs is not None else None
        parts = candidate.content.parts if candidate.content is not None else None
        for part in parts or ():
            if part.function_call is not None:
                out += self._call(index, part.function_call, part.thought_signature)
            elif part.text:
                if part.thought:
                    out += self._render.reasoning(index, part.text)
                else:
                    out += self._render.text(index, part.text, entries)
                    entries = None
        if entries:
            out += self._render.text(index, "", entries)
        reason = candidate.finish_reason
        if reason is None:
            self._reasons.setdefault(index, None)
        elif (fault := _failure(reason)) is not None:
            self._fail(fault)
        else:
            self._reasons[index] = self._finish(index, reason)
        return out

    def _finish(self, index: int, reason: str) -> str:
        if reason not in wire.FILTERED and self._render.tool_calls(index):
            return wire.FINISH.get(reason, "stop")
        return wire.FINISH.get(reason, wire.FINISH_OTHER)

    def _call(self, index: int, call: wire.Call, signature: str | None) -> bytes:
        call_id = call.id or new_call_id()
        opener = b""
        if signature:
            self.thoughts[call_id] = signature
            opener = self._render.signature(index, Blob(FAMILY, self._upstream, THOUGHT, signature))
        arguments = msgspec.json.format(bytes(call.args), indent=-1).decode()
        opener += self._render.tool(index, call_id, call.name)
        return opener + self._render.arguments(index, arguments if arguments != "null" else "{}")

    def _note_version(self, version: str) -> None:
        """A provider may serve another model than was asked for: then the usage event names it."""
        self._version = version
        served, asked = (_VARIANT.sub("", name.rpartition("/")[2]) for name in (version, self._upstream))
        if served != asked:
            self.uplifts = (
                *(name for name in self.uplifts if not name.startswith("model:")),
                f"model:{version}",
            )

    def _note_tier(self, traffic: str | None) -> None:
        tier = wire.TRAFFIC_TIERS.get(traffic or "")
        if tier is not None and tier not in self.uplifts:
            self.uplifts = (*self.uplifts, tier)


def _empty() -> Fault:
    return Fault(upstream_failed("The upstream provider sent an empty answer."), Action.NEXT, unbilled=False)


def _failure(reason: str) -> Fault | None:
    """The fault behind a finish reason that ends no answer."""
    if reason in wire.FAILED:
        told = upstream_failed("The model made a tool call that cannot be read. Retry.")
        return Fault(told, Action.NEXT, unbilled=False)
    if reason == wire.UNSIGNED:
        told = upstream_failed("The upstream provider lost the reasoning of an earlier tool call.")
        return Fault(told, Action.STOP, unbilled=False)
    if reason == wire.ACCOUNT_LIMITED:
        return Fault(upstream_auth(), Action.REFUSED, unbilled=False)
    return None


class _Wrapped(Struct):
    error: dict[str, object]


_decode_wrapped = msgspec.json.Decoder(list[_Wrapped]).decode


def _wrapped_error(event: bytes) -> object:
    """The error of an event that is no chunk: wrapped in a list, or nonsense."""
    try:
        wrapped = _decode_wrapped(event)
    except UNREADABLE:
        return {}
    return wrapped[0].error if wrapped else {}


class Gemini:
    """Google's Gemini models. A call that is hung up on stops there."""

    bills_abandoned: ClassVar[bool] = False
    tells_totals: ClassVar[bool] = True

    def open(self, job: Job, model: Model, thoughts: Mapping[str, str]) -> list[Exchange]:
        """One exchange for a chat job, one a prompt for a legacy completion, one a batch for embeddings."""
        if job.dialect == EMBEDDINGS:
            of = wanted(job, model)
            return [GeminiEmbeddings(of, batch, BASE_URL, API_VERSION) for batch in of.batches]
        try:
            return [
                GeminiExchange(job, model, request, thoughts, answer)
                for request, answer in requests(job, model)
            ]
        except RequestError as refused:
            raise RefusedError(refused.error) from None

    def count(self, job: Job, model: Model, account: AccountSettings) -> UpstreamRequest:
        """What asks for the count of a job of Messages. Raises RefusedError."""
        (exchange,) = self.open(job, model, {})
        return count_request(exchange.request(account))

    def counted(self, body: bytes) -> int | None:
        """The figure in its answer."""
        return figure(body, "totalTokens")

    def thought_ids(self, job: Job) -> list[str]:
        """Ids of the history's tool calls, the newest THOUGHT_IDS_MAX of them."""
        ids = [
            call.id for message in messages_with_calls(job) for call in message.tool_calls or () if call.id
        ]
        return ids[-THOUGHT_IDS_MAX:]

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
        """What a non-2xx answer means."""
        return fault_of_body(status, headers, body)

    def models(self, account: AccountSettings, today: date) -> GeminiReading:
        """A reading of the account's list."""
        del today
        base = (account.base_url or BASE_URL).rstrip("/")
        return GeminiReading(f"{base}/{API_VERSION}", {"x-goog-api-key": account.api_key})

    def prompt_count(self, request: UpstreamRequest) -> UpstreamRequest | None:
        """The call that asks how many tokens the prompt of a request has; None for embeddings."""
        return count_request(request) if generates(request) else None
