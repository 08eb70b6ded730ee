"""Owns one chat call, or one of legacy completions: values pass on as they are, and what is billed is read of them."""

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.json import UNREADABLE, mending
from schemas.money.pricing import NO_USAGE, TokenUsage
from workers.answers.said import Said
from workers.providers.base import AccountError, Fault
from workers.providers.faults import CUT, NONSENSE
from workers.providers.openai import calling
from workers.providers.openai.asking import Asking
from workers.providers.openai.compatible import Mender
from workers.providers.openai.costed import shown
from workers.providers.openai.endings import body_ends, chunk_ends
from workers.providers.openai.errors import fault_within
from workers.providers.openai.fields import absent
from workers.providers.openai.heard import hear
from workers.providers.openai.names import Names
from workers.providers.openai.requests import Refusals
from workers.providers.openai.uplifts import TIER, region_of, served_by
from workers.providers.openai.usage import lowered, token_usage
from workers.upstream.halves import Halves
from workers.upstream.request import UpstreamRequest
from workers.upstream.sse import EventReader, EventTooLargeError

if TYPE_CHECKING:
    from workers.providers.openai.told import Teller

# What servers call the list price's.
_STANDARD_TIERS: Final = frozenset(("", "auto", "default", "on_demand", "standard"))
_NULL: Final = Raw(b"null")
_EMPTY_LIST: Final = Raw(b"[]")

_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


class OpenAIExchange:
    """One call: values travel untouched, `model` is translated, usage is always asked for.

    What a server other than OpenAI's own sends is mended before it is read, and what it does not take is not sent.
    """

    __slots__ = (
        "_asking",
        "_ended",
        "_events",
        "_halves",
        "_job",
        "_late_usage",
        "_mender",
        "_model_id",
        "_names",
        "_region",
        "_tokens",
        "_usage_sent",
        "fault",
        "finished",
        "said",
        "thoughts",
        "uplifts",
        "usage",
    )

    def __init__(
        self, job: Job, model: Model, refusals: Refusals, tokens: calling.Tokens | None = None
    ) -> None:
        self.usage: TokenUsage | None = None
        self.said = Said()
        self.uplifts: tuple[str, ...] = ()
        self.finished = False
        self.fault: Fault | None = None
        self.thoughts: dict[str, str] = {}
        self._job = job
        self._model_id = Raw(_encode(job.model))
        self._asking = Asking(job, model, refusals)
        self._tokens = tokens
        self._mender: Mender | None = None
        self._events: EventReader | Mender = EventReader()
        self._halves: Halves | None = None  # of a stream that cuts a character in two
        self._usage_sent = False
        self._ended = False  # a stream without output so far has said why it ends
        self._late_usage: dict[str, Raw] | None = None  # usage that came inside a chunk with content
        self._region: tuple[str, ...] = ()
        self._names: Names | None = None  # of tools, where OpenAI takes others than the caller's

    @property
    def output_bytes(self) -> int:
        """Bytes of what was said."""
        return self.said.count_bytes

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The same body for every account of OpenAI's own, but for the tier. What an earlier try has read is forgotten."""
        base = account.base_url.rstrip("/") or calling.BASE_URL
        body = self._asking.body(account, base)
        self._names = self._asking.names
        self._mender = None if self._asking.elsewhere is None else Mender(self._job)
        self._events = self._mender or EventReader()
        self._region = region_of(account, base, self._job)
        self.usage, self.fault, self.said, self.uplifts = None, None, Said(), self._region
        self._late_usage, self._ended, self._halves = None, False, None
        headers = calling.headers(account, self._job, self._tokens)
        return UpstreamRequest("POST", calling.url(account, self._job), headers, body)

    def without(self, status: int, body: bytes) -> UpstreamRequest | None:
        """The same call once more, where a compatible server refuses `stream_options`, without what it refuses of them."""
        account = self._asking.yields(status, body)
        try:
            return None if account is None else self.request(account)
        except AccountError:
            return None  # its token has just ended

    def taken(self) -> None:
        """The server took the call as it was asked."""
        self._asking.taken()

    def answer(self, body: bytes) -> bytes:
        """The upstream's JSON with the caller's model id, and `cost` if it was asked for."""
        told = body
        if self._mender is not None:
            body = self._mender.answer(body)
        elif self._names:
            body = self._names.back(body)
        try:
            fields = mending(_decode_map, body)
            if not body.isascii():
                body.decode()
        except UNREADABLE:
            self.fault = NONSENSE
            return b""
        if not self._readable(fields) or "choices" not in fields:
            self.fault = self.fault or NONSENSE
            return b""
        hear(fields["choices"], self.said)
        self._served_by(fields)
        told_usage = not absent(fields, "usage")
        if told_usage:
            self.usage = token_usage(fields["usage"], long_cache=self._asking.long_cache)
        if self._job.include_cost:
            fields["usage"] = self._shown(fields.pop("usage", None))  # as the last field
        elif told_usage:
            fields["usage"] = self._shown(fields["usage"])
        fields["model"] = self._model_id
        self._finish(ended=bool(self.output_bytes) or body_ends(told))
        return _encode(fields)

    def feed(self, data: bytes) -> bytes:
        """The upstream's chunks with the caller's model id; usage only for callers who asked."""
        if self.finished or self.fault is not None:
            return b""
        try:
            events = self._events.feed(data)
        except EventTooLargeError:
            self.fault = NONSENSE
            return b""
        if self._names and self._mender is None:
            events = [self._names.back(event) for event in events]
        out: list[bytes] = []
        for event in events:
            if not (self._event(event, out) if self._halves is None else self._next(event, out)):
                break
        return b"".join(out)

    def close(self) -> bytes:
        """Nothing more of OpenAI's own, but a fault unless `[DONE]` came; what a mended stream still says."""
        out: list[bytes] = []
        if not self.finished and self.fault is None:
            for event in self._last():
                if not self._next(event, out):
                    break
            if not self.finished:
                self.fault = self.fault or CUT
        return b"".join(out)

    def _last(self) -> list[bytes]:
        if isinstance(self._events, Mender):
            return self._events.close()
        rest = self._events.end()
        return [rest] if rest == b"[DONE]" else []

    def _next(self, event: bytes, out: list[bytes]) -> bool:
        # Whether the stream goes on.
        if self._halves is None or not self._halves.waiting:
            return self._event(event, out)
        return all(self._event(one, out) for _, one in self._halves.ready(event))

    def _event(self, event: bytes, out: list[bytes]) -> bool:
        if event.startswith(b"[DONE]"):
            self._done(out)
            return False
        try:
            if not event.isascii():
                event.decode()
            fields = _decode_map(event)
        except UNREADABLE:
            return self._reread(event, out)
        if "error" in fields and not self._readable(fields):
            return False
        choices = fields.get("choices", _EMPTY_LIST)
        bare = bytes(choices).strip() == b"[]"
        if not bare:
            self._hear(choices)
        if not absent(fields, "usage"):
            self._usage(fields, bare=bare)
            if bare:
                if self._job.include_usage and not self._late:
                    self._usage_chunk(fields, out)
                return True
        if self._job.include_usage:
            fields["usage"] = _NULL
        else:
            fields.pop("usage", None)
        fields["model"] = self._model_id
        out.append(_framed(fields))
        return True

    def _reread(self, event: bytes, out: list[bytes]) -> bool:
        """The same for an event that could not be read, if no more than half a character is wrong with it."""
        self._halves = self._halves or Halves()
        found = self._halves.ready(event)
        if found and found[0][1] is event:
            self.fault = NONSENSE
            return False
        # What it puts out is told afterwards, if at all.
        return all(OpenAIExchange._event(self, one, out) for _, one in found)

    def _hear(self, choices: Raw) -> None:
        hear(choices, self.said)
        if not self.said.count_bytes and not self._ended:
            self._ended = chunk_ends(choices)

    def _readable(self, fields: dict[str, Raw]) -> bool:
        # An error object counts even beside choices: some servers send both.
        if absent(fields, "error"):
            return True
        self.fault = fault_within(fields["error"], served=self.output_bytes > 0)
        return False

    @property
    def _late(self) -> bool:
        """Whether usage waits for the end: compatible servers report before they have finished, and a bill is known then."""
        return self._mender is not None or self._job.include_cost

    def _usage(self, fields: dict[str, Raw], *, bare: bool) -> None:
        told, before = token_usage(fields["usage"], long_cache=self._asking.long_cache), self.usage
        if told is not None and (before is None or not lowered(before, told)):
            self.usage = told
        self._served_by(fields)
        if not bare or self._late:
            self._late_usage = fields | {"choices": _EMPTY_LIST}

    def _usage_chunk(self, fields: dict[str, Raw], out: list[bytes]) -> None:
        chunk = dict(fields)
        chunk["choices"] = _EMPTY_LIST
        chunk["usage"] = self._shown(fields.get("usage"))
        chunk["model"] = self._model_id
        out.append(_framed(chunk))
        self._usage_sent = True

    def _done(self, out: list[bytes]) -> None:
        if self._late_usage is not None and self._job.include_usage and not self._usage_sent:
            self._usage_chunk(self._late_usage, out)
        elif self._job.include_cost and self._job.include_usage and self._mender is not None:
            self._usage_chunk(self._mender.envelope(), out)
        self._finish(ended=self._ended and not (self._mender is not None and self._mender.unended))

    def _finish(self, *, ended: bool) -> None:
        """The answer is whole. One that has no output, and does not say why it `ended` either, costs nothing."""
        hidden = self.usage is not None and self.usage.completion
        if not (ended or self.output_bytes or hidden):
            self.usage = NO_USAGE
        self.finished = True

    def _served_by(self, fields: dict[str, Raw]) -> None:
        if not absent(fields, TIER):
            tier = msgspec.json.decode(fields[TIER])
            self.uplifts = served_by(self._region, tier if isinstance(tier, str) else "", _STANDARD_TIERS)

    def _shown(self, sent: Raw | None) -> Raw:
        return shown(self._job, sent, self.usage, self.said)


def _framed(fields: dict[str, Raw]) -> bytes:
    """One event, in one line: its values are as they came, perhaps in several lines of data."""
    return b"data: " + _encode(fields).replace(b"\n", b" ") + b"\n\n"


class ToldExchange(OpenAIExchange):
    """One chat call whose answer is told to a caller of another dialect. Its job is that of the chat call."""

    __slots__ = ("_teller",)

    def __init__(
        self,
        job: Job,
        model: Model,
        teller: "Teller",
        refusals: Refusals,
        tokens: calling.Tokens | None = None,
    ) -> None:
        super().__init__(job, model, refusals, tokens)
        self._teller = teller

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The chat call; forgets what an earlier try has read."""
        self._teller.restart()
        self.finished = False
        return super().request(account)

    def answer(self, body: bytes) -> bytes:
        """The caller's body; b"" until the last exchange of the job."""
        chat = super().answer(body)
        return self._ending(self._teller.say(chat)) if self.fault is None else b""

    def feed(self, data: bytes) -> bytes:
        """The caller's events for some bytes of the chat stream."""
        return self._ending(super().feed(data))

    def close(self) -> bytes:
        """The caller's last events."""
        return self._ending(super().close())

    def _event(self, event: bytes, out: list[bytes]) -> bool:
        read = self._teller.read(event)
        if read is not None:
            choices, texts = read
            for text in texts:
                self.said.add(text)
            out.append(self._teller.tell(choices))
            return True
        chat: list[bytes] = []
        goes_on = super()._event(event, chat)
        out += map(self._teller.repeat, chat)
        return goes_on

    def _ending(self, out: bytes) -> bytes:
        """What was told, with its end once there is one; a fault if it cannot be told."""
        if self._teller.fault is not None:
            self.fault, self.finished = self.fault or self._teller.fault, False
        return out + self._teller.end(self.usage, self.uplifts) if self.finished else out
