"""Owns Messages calls of callers who speak Anthropic's dialect: what is sent on, and events that pass as they are."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.dialects.messages.fields import FLAGGED, KNOWN, allowed_betas
from schemas.dialects.messages.native import cleaned
from schemas.dialects.messages.request import Metadata, Thinking
from schemas.dialects.messages.thinking import fitted
from schemas.dialects.messages.usage import usage_totals, usage_whole
from schemas.errors import invalid
from schemas.json import UNREADABLE, mending
from schemas.money.pricing import TokenUsage
from workers.answers import answers
from workers.answers.beliefs import believable, is_beyond
from workers.answers.costs import cost
from workers.answers.messages import message_id
from workers.providers.anthropic import answer as wire
from workers.providers.anthropic.count import COUNTED, count_request
from workers.providers.anthropic.errors import fault_of_event
from workers.providers.anthropic.exchange import VERSION, AnthropicExchange
from workers.providers.anthropic.mended import mended, renamed
from workers.providers.anthropic.request import Built
from workers.providers.anthropic.thinking import BUDGET, lacks_reasoning
from workers.providers.base import RefusedError
from workers.providers.counts import is_odd
from workers.providers.faults import NONSENSE
from workers.upstream.request import UpstreamRequest

_BETA: Final = "anthropic-beta"
_VERSION: Final = "anthropic-version"
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TYPE: Final = re.compile(r"[a-z_]{1,64}", re.ASCII)
_PERSON_CHARS: Final = 32

Fields = dict[str, Raw]

_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_thinking = msgspec.json.Decoder(Thinking | None).decode
_decode_metadata = msgspec.json.Decoder(Metadata | None).decode


def native_body(job: Job, model: Model, betas: list[str]) -> tuple[bytes, dict[str, str]]:
    """The caller's own body with the upstream's model, the granted limit, and no word of who asks.

    A field of a beta stays where one of `betas` lets the provider take it. Beside it the caller's names of tools that
    the provider knows by others.

    Raises RefusedError for what is no such body.
    """
    try:
        given = _decode_fields(job.body)
        added = model.forwards.added(given)
        fields, _ = fitted(
            {name: raw for name, raw in given.items() if name in KNOWN or name in added}, model.capabilities
        )
        fields["model"] = Raw(_encode(job.upstream))
        if job.write_limit:
            fields["max_tokens"] = Raw(b"%d" % job.limit)
            _fit_budget(fields, job.limit)
        fields["messages"] = mended(cleaned(fields["messages"]))
        _drop_budget(fields)
        names = renamed(fields)
        _hide_person(fields, job.scope)
        for name, start in FLAGGED.items():
            if not any(flag.startswith(start) for flag in betas):
                fields.pop(name, None)
    except (*UNREADABLE, KeyError):
        raise RefusedError(invalid("The body is not a Messages request.")) from None
    return _encode(fields), names


def _fit_budget(fields: Fields, limit: int) -> None:
    """A budget of thinking is smaller than the limit: where that shrank, so does it, or the model goes without."""
    thinking = _decode_thinking(fields.get("thinking", Raw(b"null")))
    if thinking is None or thinking.budget_tokens is None or thinking.budget_tokens < limit:
        return
    raw = _decode_fields(fields["thinking"])
    fields["thinking"] = Raw(_encode(raw | {"budget_tokens": Raw(b"%d" % (limit - 1))}))


def _drop_budget(fields: Fields) -> None:
    """Within a turn whose reasoning another model gave, the model goes on without: a budget would be refused."""
    thinking = _decode_thinking(fields.get("thinking", Raw(b"null")))
    if thinking is not None and thinking.type == BUDGET and lacks_reasoning(fields["messages"]):
        del fields["thinking"]
        fields.pop("context_management", None)  # what it clears is thinking, and it may not stand alone


def _hide_person(fields: Fields, scope: str) -> None:
    raw = fields.pop("metadata", None)
    metadata = _decode_metadata(raw) if raw is not None else None
    if metadata is not None and metadata.user_id:
        text = f"{scope}:{metadata.user_id}".encode(errors="surrogatepass")
        person = hashlib.sha256(text).hexdigest()[:_PERSON_CHARS]
        fields["metadata"] = Raw(_encode({"user_id": person}))


class NativeExchange(AnthropicExchange):
    """One Messages call whose events go on byte for byte, but for the message's id and model, and the cost."""

    __slots__ = ("_betas", "_ending", "_job", "_names")

    def __init__(self, job: Job, model: Model) -> None:
        self._job = job
        headers = dict(job.headers)
        allowed = allowed_betas(headers.get(_BETA, ""), context=model.context, max_output=model.max_output)
        self._betas = betas = [flag for flag in allowed if self._takes(flag)]
        body, self._names = native_body(job, model, betas)  # the names are the caller's, by the provider's
        super().__init__(job, Built(body, ""), answers(job)[0])
        version = headers.get(_VERSION, "")
        self._version = version if _DATE.fullmatch(version) else VERSION
        self._more = {_BETA: ",".join(betas)} if betas else {}

    def counting(self, account: AccountSettings) -> UpstreamRequest:
        """The call that counts the same prompt, with one account's key."""
        return count_request(self.request(account), COUNTED)

    def _takes(self, flag: str) -> bool:
        """Whether the provider knows a beta flag that may go on."""
        del flag
        return True

    def _restart(self) -> None:
        super()._restart()
        self._ending: list[bytes] = []  # the last events: they wait for one another, and for the bill

    def answer(self, body: bytes) -> bytes:
        """The message, whole."""
        try:
            message, fields = mending(_whole, body)
        except UNREADABLE:
            self.fault = NONSENSE
            return b""
        if message.error is not None or message.type != "message" or message.stop_reason is None:
            self.fault = NONSENSE if message.error is None else fault_of_event(message.error, unbilled=True)
            return b""
        self._count(message.usage)
        self._tally.produced = bool(message.content)
        for block in message.content:
            self._hear(block.text, block.thinking)
            if block.type == "tool_use":
                self._render.hidden(
                    msgspec.json.format(bytes(block.input), indent=-1).decode()
                )  # as streams have it
        self.output_bytes = self._render.output_bytes
        self._reason = message.stop_reason
        self._over_and_out()
        if self._names:
            content = [_called(block, self._names) for block in _decode_list(fields["content"])]
            fields["content"] = Raw(_encode(content))
        return _encode(self._costed(self._sound(self._named(fields), usage_whole)))

    def _read(self, raw: bytes) -> bytes:
        event = wire.decode_event(raw)
        if event.type == "content_block_delta" and event.delta is not None:
            delta = event.delta
            self._hear(delta.text or delta.thinking or delta.partial_json)
            if delta.signature:
                self._tally.produced = True
            return b"event: content_block_delta\ndata: %b\n\n" % raw.replace(b"\n", b" ")
        if _TYPE.fullmatch(event.type) is None:
            self.fault = NONSENSE
            return b""
        match event.type:
            case "content_block_start" if event.content_block is not None:
                self._tally.produced = True
                self._hear(event.content_block.text, event.content_block.thinking)
                raw = self._called(event.content_block.name, raw)
            case "message_start" if event.message is not None:
                self._count(event.message.usage)
                self._tally.opened = True
                fields = _decode_fields(raw)
                opening = self._named(_decode_fields(fields["message"]))
                fields["message"] = Raw(_encode(self._sound(opening, usage_whole)))
                raw = _encode(fields)
            case "message_delta":
                self._count(event.usage)
                self._ending.append(_framed(event.type, self._closing(event, raw)))
                return b""
            case "message_stop":
                return self._stopped(_framed(event.type, raw))
            case "error":
                self.fault = fault_of_event(event.error, unbilled=self._tally.totals is None)
                return b""
        return _framed(event.type, raw)

    def _closing(self, event: wire.Event, raw: bytes) -> bytes:
        """The event that says why the message ends, and its last usage."""
        if event.delta is not None:
            self._reason = event.delta.stop_reason or self._reason
        fields = _decode_fields(raw)
        sound = self._sound(fields, usage_totals)
        return _encode(self._costed(sound)) if sound is not fields or self._job.include_cost else raw

    def _called(self, name: str, raw: bytes) -> bytes:
        """The beginning of a block, with the caller's name of the tool that it calls."""
        if name not in self._names:
            return raw
        fields = _decode_fields(raw)
        return _encode(fields | {"content_block": _called(fields["content_block"], self._names)})

    def _hear(self, *texts: str | None) -> None:
        for text in texts:
            if text:
                self._render.said.add(text)

    def _stopped(self, stop: bytes) -> bytes:
        if self._reason is None:
            self.fault = NONSENSE
            return b""
        self._over_and_out()
        return b"".join((*self._ending, stop))

    def _over_and_out(self) -> None:
        self._have_counted()
        self.finished = True

    def _named(self, message: Fields) -> Fields:
        """A message under the call's id, of the model that its caller asked for."""
        job = self._job
        ours = {"id": message_id(job), "model": job.model}
        return message | {name: Raw(_encode(value)) for name, value in ours.items()}

    def _sound(self, fields: Fields, written: Callable[[TokenUsage], dict[str, Any]]) -> Fields:
        """The same with our estimate in place of usage that cannot be, written as it stands there."""
        told, usage, job = fields.get("usage"), self.usage, self._job
        if told is None or bytes(told) == b"null":
            return fields
        if usage is not None and not is_beyond(job, usage) and not is_odd(told):
            return fields
        ours = believable(job, usage, self._render.said)
        return fields | {"usage": Raw(_encode(written(ours)))}

    def _costed(self, fields: Fields) -> Fields:
        """The same with usage that has the place of `cost`, as the last field, if the job wants that."""
        if not self._job.include_cost or self.usage is None or "usage" not in fields:
            return fields
        usage = _decode_fields(fields.pop("usage")) | cost(self._job)
        return fields | {"usage": Raw(_encode(usage))}


def _whole(body: bytes) -> tuple[wire.Message, Fields]:
    return wire.decode_message(body), _decode_fields(body)


def _called(block: Raw, names: Mapping[str, str]) -> Raw:
    """A block with the caller's name of the tool that it calls, if it calls one."""
    fields = _decode_fields(block)
    name = msgspec.json.decode(fields.get("name", b"null"))
    return Raw(_encode(fields | {"name": Raw(_encode(names[name]))})) if name in names else block


def _framed(name: str, raw: bytes) -> bytes:
    # Data that came in several lines is JSON with blanks between: the caller gets it in one.
    return b"event: %b\ndata: %b\n\n" % (name.encode(), raw.replace(b"\n", b" "))
