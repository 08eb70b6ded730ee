"""Owns Claude on Bedrock for callers of Messages: InvokeModel with their own body, and its events byte for byte."""

import re
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.bedrock import region_uplifts
from schemas.catalogue.model import Capabilities, Model
from schemas.dialects.messages.fields import BEDROCK_DROPS
from schemas.dialects.messages.turns import BILLING_LABEL, reminder
from schemas.errors import invalid
from schemas.json import UNREADABLE
from workers.providers.anthropic import answer as wire
from workers.providers.anthropic.native import NativeExchange
from workers.providers.base import RefusedError
from workers.providers.bedrock.auth import Signer
from workers.providers.bedrock.errors import fault_of_exception
from workers.providers.bedrock.event_stream import FrameBuffer, FrameError
from workers.providers.faults import NONSENSE
from workers.upstream.request import UpstreamRequest

VERSION: Final = "bedrock-2023-05-31"
MARKS_MAX: Final = 4  # cache breakpoints that a request may have
# Flags that Bedrock takes, by their beginnings: with any other it refuses the request.
BETAS: Final = (
    "computer-use-",
    "context-1m-",
    "dev-full-thinking-",
    "effort-",
    "fine-grained-tool-streaming-",
    "interleaved-thinking-",
    "output-128k-",
    "token-efficient-tools-",
)
# Of a tool, beside what every Claude reads: they need flags that Bedrock has not.
_TOOL_DROPS: Final = frozenset(
    ("allowed_callers", "defer_loading", "eager_input_streaming", "input_examples")
)
_NOT_SENT: Final = frozenset(("model", "stream")) | BEDROCK_DROPS
_HEADERS: Final = {"content-type": "application/json"}
_METRICS: Final = "amazon-bedrock-invocationMetrics"
_METRICS_SIGN: Final = _METRICS.encode()
_MARK: Final = b'"cache_control"'
_SYSTEM_ROLE: Final = re.compile(rb'"role":"system"|\\u')
_SYSTEM: Final = b'"system"'
_USER: Final = b'"user"'
_NONE: Final = Raw(b"[]")
_NULL: Final = Raw(b"null")

Fields = dict[str, Raw]

_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_objects = msgspec.json.Decoder(list[Fields]).decode
_decode_any = msgspec.json.decode


class _Chunk(Struct):
    """One event of the stream, wrapped up."""

    event: bytes = msgspec.field(name="bytes", default=b"")  # in base64 on the wire


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def invoked(body: bytes, able: Capabilities, betas: list[str]) -> bytes:
    """A body that would go to Anthropic, as Bedrock takes it. Raises RefusedError for what is none."""
    try:
        fields = _decode_fields(body)
        mark = fields.pop("cache_control", _NULL)
        made: Fields = {"anthropic_version": Raw(_encode(VERSION))}
        if betas:
            made["anthropic_beta"] = Raw(_encode(betas))
        made |= {name: raw for name, raw in fields.items() if name not in _NOT_SENT}
        made["messages"] = _told(made["messages"])
        if "system" in made and BILLING_LABEL.encode() in bytes(made["system"]):
            _without_label(made)
        if "tools" in made:
            made["tools"] = _plain_tools(made["tools"], able)
        if bytes(mark) != b"null" and sum(bytes(raw).count(_MARK) for raw in made.values()) < MARKS_MAX:
            made["messages"] = _marked(made["messages"], mark)
    except (*UNREADABLE, KeyError):
        raise RefusedError(invalid("The body is not a Messages request.")) from None
    return _encode(made)


def _told(messages: Raw) -> Raw:
    """A conversation whose instructions stand in the user's turns: Bedrock has no turns of the system's own."""
    if _SYSTEM_ROLE.search(bytes(messages)) is None:
        return messages
    turns: list[Fields] = []
    changed = False
    for turn in _decode_objects(messages):
        if bytes(turn.get("role", b"")) != _SYSTEM:
            turns.append(turn)
            continue
        changed = True
        said = [_text_block(reminder(text)) for text in _texts(turn.get("content", _NONE))]
        if turns and bytes(turns[-1].get("role", b"")) == _USER:
            before = turns[-1]
            turns[-1] = before | {"content": Raw(_encode([*_blocks(before["content"]), *said]))}
        elif said:
            turns.append({"role": Raw(_USER), "content": Raw(_encode(said))})
    return Raw(_encode(turns)) if changed else messages


def _blocks(content: Raw) -> list[Fields]:
    if bytes(content).startswith(b"["):
        return _decode_objects(content)
    return [_text_block(str(_decode_any(content)))]


def _texts(content: Raw) -> list[str]:
    texts = (_decode_any(block.get("text", _NULL)) for block in _blocks(content))
    return [text for text in texts if isinstance(text, str) and text.strip()]


def _text_block(text: str) -> Fields:
    return {"type": Raw(b'"text"'), "text": Raw(_encode(text))}


def _without_label(fields: Fields) -> None:
    """Takes out Claude Code's own note to Anthropic, which would reach the model here."""
    blocks = _blocks(fields["system"])
    kept = [block for block in blocks if not str(_decode_any(block["text"])).startswith(BILLING_LABEL)]
    if not kept:
        del fields["system"]
    elif len(kept) < len(blocks):
        fields["system"] = Raw(_encode(kept))


def _plain_tools(raw: Raw, able: Capabilities) -> Raw:
    drops = _TOOL_DROPS if able.strict_tools else _TOOL_DROPS | {"strict"}
    tools = _decode_objects(raw)
    if all(drops.isdisjoint(tool) for tool in tools):
        return raw
    return Raw(_encode([{name: one for name, one in tool.items() if name not in drops} for tool in tools]))


def _marked(messages: Raw, mark: Raw) -> Raw:
    """A mark on all of the request stands on its last block here."""
    turns = _decode_objects(messages)
    blocks = _blocks(turns[-1]["content"])
    if blocks and bytes(blocks[-1].get("type", b"")) not in (b'"thinking"', b'"redacted_thinking"'):
        blocks[-1] = blocks[-1] | {"cache_control": mark}
        turns[-1] = turns[-1] | {"content": Raw(_encode(blocks))}
    return Raw(_encode(turns))


class InvokeExchange(NativeExchange):
    """One InvokeModel call, plain or streamed. What comes in its frames is what Anthropic's own events would hold."""

    __slots__ = ("_begun", "_buffer", "_regions", "_signer")

    def __init__(self, job: Job, model: Model, signer: Signer) -> None:
        self._signer = signer
        # The price of a row is that of exactly its id: a region that it has no factor for is in it.
        self._regions = tuple(
            name for name in region_uplifts(model.upstream) if job.price is None or name in job.price.uplifts
        )
        super().__init__(job, model)
        self._body = invoked(self._body, model.capabilities, self._betas)

    def _restart(self) -> None:
        super()._restart()
        self.uplifts = self._regions
        self._buffer = FrameBuffer()
        self._begun = False  # an event has come: the provider is at work

    def _takes(self, flag: str) -> bool:
        return flag.startswith(BETAS)

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The signed call; forgets what an earlier try has read. Raises AccountError without credentials."""
        self._restart()
        verb = "invoke-with-response-stream" if self._stream else "invoke"
        url, headers = self._signer.call(account, self._upstream, verb, _HEADERS, self._body)
        headers["X-Amzn-Bedrock-Accept" if self._stream else "Accept"] = "application/json"
        return UpstreamRequest("POST", url, headers, self._body)

    def counting(self, account: AccountSettings) -> UpstreamRequest:
        """The call that counts the same prompt. Raises AccountError without credentials."""
        body = _encode({"input": {"invokeModel": {"body": self._body}}})
        url, headers = self._signer.call(account, self._upstream, "count-tokens", _HEADERS, body)
        headers["Accept"] = "application/json"
        return UpstreamRequest("POST", url, headers, body)

    def feed(self, data: bytes) -> bytes:
        """The caller's events for some bytes of the stream."""
        if self._over():
            return b""
        out: list[bytes] = []
        try:
            for head, payload in self._buffer.frames(data):
                if head.kind != "event":
                    self.fault = fault_of_exception(head.name, payload, head.message, begun=self._begun)
                elif head.name == "chunk":
                    self._begun = True
                    out += self._halves.each(self._read, _bare(_decode_chunk(payload).event))
                if self._over():
                    break
        except (FrameError, *UNREADABLE):
            self.fault = NONSENSE
        self.output_bytes = self._render.output_bytes
        return b"".join(out)

    def _count(self, usage: wire.Usage | None) -> None:
        super()._count(usage)
        self.uplifts = self._regions  # what else Claude tells is of Anthropic's own service


def _bare(event: bytes) -> bytes:
    """An event without what Bedrock adds to the last one."""
    if _METRICS_SIGN not in event:
        return event
    fields: dict[str, Any] = _decode_fields(event)
    fields.pop(_METRICS, None)
    return _encode(fields)
