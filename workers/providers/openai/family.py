"""Owns the OpenAI family: a pass-through that changes only what docs/providers/openai.md names."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec import Raw, Struct, structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.catalogue.regions import is_openai, openai_region
from schemas.chat.caching import LONG_TTLS, may_name, ttls
from schemas.chat.request import CHAT, COMPLETIONS
from schemas.embeddings.request import EMBEDDINGS
from schemas.errors import invalid
from schemas.json import UNREADABLE, mending
from schemas.money.pricing import NO_USAGE, TokenUsage
from schemas.responses.request import RESPONSES
from workers.answers.said import Said
from workers.providers.base import AccountError, Action, Exchange, Fault, RefusedError
from workers.providers.embedding import wanted
from workers.providers.faults import CUT, NONSENSE
from workers.providers.openai import calling, histories
from workers.providers.openai.compatible import Mender
from workers.providers.openai.costed import shown
from workers.providers.openai.embeddings import OpenAIEmbeddings
from workers.providers.openai.endings import body_ends, chunk_ends
from workers.providers.openai.errors import event_fault, fault
from workers.providers.openai.limit import NEW, OLD, limit_name, write_limit
from workers.providers.openai.models import OpenAIReading
from workers.providers.openai.names import Names
from workers.providers.openai.requests import Refusals, own_options, refuses_options, suited
from workers.providers.openai.usage import token_usage
from workers.upstream.halves import Halves
from workers.upstream.request import UpstreamRequest
from workers.upstream.sse import EventReader, EventTooLargeError

if TYPE_CHECKING:
    from workers.providers.openai.google_tokens import Tokens
    from workers.providers.openai.told import Teller

_TOKEN_REFUSED = 401
_RENEW_S = 2.0  # how long an account is left alone whose token was refused: a new one is minted
_PRIVATE_KEYS = ("usage",)  # asks the gateway for `cost`; the edge takes it out, and so do we
_TIER_CHARS_MAX = 64  # what an upstream calls a service tier goes into a usage event
_TIER = "service_tier"
_DEFAULT_TIER = Raw(b'"default"')
_STANDARD_TIERS = frozenset(
    ("", "auto", "default", "on_demand", "standard")
)  # what servers call the list price's
_NULL = Raw(b"null")
_TRUE = Raw(b"true")
_EMPTY_LIST = Raw(b"[]")

_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


class _Function(Struct):
    arguments: str | None = None


class _Custom(Struct):
    input: str | None = None


class _ToolCall(Struct):
    function: _Function | None = None
    custom: _Custom | None = None


class _Said(Struct):
    """What a delta or a message holds of billed output."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(Struct):
    delta: _Said | None = None
    message: _Said | None = None
    text: str | None = None


_decode_choices = msgspec.json.Decoder(list[_Choice]).decode


class OpenAI:
    """api.openai.com and every server that speaks its protocol."""

    bills_abandoned: ClassVar[bool] = False
    tells_totals: ClassVar[bool] = False

    def __init__(self) -> None:
        self._refusals = Refusals()
        self._without_base64 = Refusals()
        self._tokens: Tokens | None = None

    async def prepare(self, accounts: Sequence[AccountSettings]) -> None:
        """Mints the tokens of accounts that show one, and keeps them fresh. Others need nothing."""
        minted = [account for account in accounts if account.auth == calling.GOOGLE]
        if minted:
            from workers.providers.openai.google_tokens import Tokens  # noqa: PLC0415  35 MB that few pools need

            self._tokens = self._tokens or Tokens()
            await self._tokens.prepare(minted)

    def keep(self, accounts: Sequence[AccountSettings]) -> None:
        """Ends the tokens that none of these accounts shows."""
        if self._tokens is not None:
            self._tokens.keep([account for account in accounts if account.auth == calling.GOOGLE])

    def open(self, job: Job, model: Model, thoughts: Mapping[str, str]) -> list[Exchange]:
        """One exchange; for a dialect that the upstream has not, whatever the emulation needs."""
        del thoughts
        if job.dialect == EMBEDDINGS:
            of = wanted(job, model)
            return [OpenAIEmbeddings(of, batch, self._without_base64) for batch in of.batches]
        if job.dialect == RESPONSES and model.capabilities.responses:
            from workers.providers.openai.responses.exchange import ResponsesExchange  # noqa: PLC0415  needed by few calls

            return [ResponsesExchange(job, model.forwards.more)]
        if job.dialect != CHAT and not (job.dialect == COMPLETIONS and model.capabilities.completions):
            from workers.providers.openai.told import tellers  # noqa: PLC0415  needed by few pools

            return [
                ToldExchange(chat, model, teller, self._refusals, self._tokens)
                for chat, teller in tellers(job, model)
            ]
        return [OpenAIExchange(job, model, self._refusals, self._tokens)]

    def thought_ids(self, job: Job) -> list[str]:
        """None: this family keeps its own reasoning."""
        del job
        return []

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
        """What a non-2xx answer means."""
        found = fault(status, headers, body)
        if status == _TOKEN_REFUSED and self._tokens is not None:
            self._tokens.spoil()
            return structs.replace(found, action=Action.COOL, cool_s=_RENEW_S)
        return found

    def models(self, account: AccountSettings, today: date) -> OpenAIReading:
        """A reading of the account's list."""
        del today
        headers = {**calling.bearer(account), "Accept": "application/json"}
        return OpenAIReading(account.base_url.rstrip("/") or calling.BASE_URL, headers)


class OpenAIExchange:
    """One call: values travel untouched, `model` is translated, usage is always asked for.

    What a server other than OpenAI's own sends is mended before it is read, and what it does not take is not sent.
    """

    __slots__ = (
        "_account",
        "_bare_for",
        "_ended",
        "_events",
        "_halves",
        "_job",
        "_late_usage",
        "_long_cache",
        "_mender",
        "_model",
        "_model_id",
        "_names",
        "_refusals",
        "_region",
        "_request_fields",
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
        self._model = model
        self._model_id = Raw(_encode(job.model))
        self._refusals = refusals
        self._tokens = tokens
        self._account: AccountSettings | None = None  # that of the try under way, where its answer is mended
        self._bare_for = ""  # the account that is asked without `stream_options`
        self._mender: Mender | None = None
        self._events: EventReader | Mender = EventReader()
        self._halves: Halves | None = None  # of a stream that cuts a character in two
        self._usage_sent = False
        self._ended = False  # a stream without output so far has said why it ends
        self._late_usage: dict[str, Raw] | None = None  # usage that came inside a chunk with content
        self._region: tuple[str, ...] = ()
        self._names: Names | None = None  # of tools, where OpenAI takes others than the caller's
        self._request_fields = self._fields()
        self._long_cache = may_name(job.body) and not LONG_TTLS.isdisjoint(ttls(self._request_fields))

    @property
    def output_bytes(self) -> int:
        """Bytes of what was said."""
        return self.said.count_bytes

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The same body for every account of OpenAI's own, but for the tier. What an earlier try has read is forgotten."""
        base = account.base_url.rstrip("/") or calling.BASE_URL
        region = openai_region("openai", base) or self._uplift(account)
        self._region = (region,) if region else ()
        if is_openai(base):
            self._mender, self._events = None, EventReader()
            body = _encode(self._at_default_tier())
            self._names = self._names or self._refused_names(body)
            body = self._names.there(body) if self._names else body
        else:
            self._account = account
            self._mender = self._events = Mender(self._job)
            bare = account.id == self._bare_for or self._refusals.has(account.id)
            body = suited(self._request_fields, self._job, self._model, with_options=not bare)
        self.usage, self.fault, self.said, self.uplifts = None, None, Said(), self._region
        self._late_usage, self._ended, self._halves = None, False, None
        headers = calling.headers(account, self._job, self._tokens)
        return UpstreamRequest("POST", calling.url(account, self._job), headers, body)

    def _refused_names(self, body: bytes) -> Names | None:
        tools = "tools" in self._request_fields or histories.SIGN in body
        return (Names(body) if tools and self._job.dialect == CHAT else None) or None

    def _uplift(self, account: AccountSettings) -> str:
        """What the account's region adds, where the price knows of it: a row of the operator's own may have it in it."""
        price = self._job.price
        return account.uplift if price is not None and account.uplift in price.uplifts else ""

    def without(self, status: int, body: bytes) -> UpstreamRequest | None:
        """The same call once more without `stream_options`, where a compatible server's refusal names them.

        Or without what the caller put into them beside the gateway's own: it may be no more than that.
        """
        account = self._account
        if self._mender is None or account is None or not self._job.stream or self._bare_for == account.id:
            return None
        if self._refusals.has(account.id) or not refuses_options(status, body):
            return None
        if (own := own_options(self._request_fields)) is not None:
            self._request_fields["stream_options"] = own
            self._bare_for = ""
        else:
            self._bare_for = account.id
        try:
            return self.request(account)
        except AccountError:
            return None  # its token has just ended

    def taken(self) -> None:
        """The server took the call: the account is remembered, if it was without them."""
        if self._bare_for:
            self._refusals.add(self._bare_for)

    def _at_default_tier(self) -> dict[str, Raw]:
        """The fields with a service tier: an absent one means at OpenAI what its project is set to, at any price."""
        fields = self._request_fields
        open_tier = _absent(fields, _TIER) or bytes(fields[_TIER]).strip() == b'"auto"'
        return fields | {_TIER: _DEFAULT_TIER} if open_tier and self._job.dialect == CHAT else fields

    def _fields(self) -> dict[str, Raw]:
        job = self._job
        try:
            fields = _decode_map(job.body)
            fields["model"] = Raw(_encode(job.upstream))
            for key in _PRIVATE_KEYS:
                fields.pop(key, None)
            if job.stream:
                fields["stream_options"] = _with_usage(fields.get("stream_options"))
        except UNREADABLE:
            raise RefusedError(invalid("The body is not a JSON object in UTF-8.")) from None
        self._limit(fields)
        if job.dialect == CHAT and histories.SIGN in job.body:
            histories.readable(fields)
        return fields

    def _limit(self, fields: dict[str, Raw]) -> None:
        """Leaves a limit as the caller wrote it, or replaces whatever it wrote by the one that was granted."""
        job = self._job
        name = limit_name(job, self._model)
        needed = job.dialect == COMPLETIONS or self._model.capabilities.needs_limit
        # Newer models refuse the old name; the limit that was priced is the larger of the two.
        renamed = name == NEW and not _absent(fields, OLD)
        if job.write_limit or renamed or (needed and _absent(fields, name)):
            write_limit(fields, name, job.limit)

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
        _hear(fields["choices"], self.said)
        self._served_by(fields)
        told_usage = not _absent(fields, "usage")
        if told_usage:
            self.usage = token_usage(fields["usage"], long_cache=self._long_cache)
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
        if not _absent(fields, "usage"):
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
        _hear(choices, self.said)
        if not self.said.count_bytes and not self._ended:
            self._ended = chunk_ends(choices)

    def _readable(self, fields: dict[str, Raw]) -> bool:
        # An error object counts even beside choices: some servers send both.
        if _absent(fields, "error"):
            return True
        found = event_fault(msgspec.json.decode(fields["error"]))
        if self.output_bytes:
            found = structs.replace(found, unbilled=False)
        self.fault = found
        return False

    @property
    def _late(self) -> bool:
        """Whether usage waits for the end: compatible servers report before they have finished, and a bill is known then."""
        return self._mender is not None or self._job.include_cost

    def _usage(self, fields: dict[str, Raw], *, bare: bool) -> None:
        told, before = token_usage(fields["usage"], long_cache=self._long_cache), self.usage
        if told is not None and (before is None or not _lowered(before, told)):
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
        if _absent(fields, _TIER):
            return
        tier = msgspec.json.decode(fields[_TIER])
        if not isinstance(tier, str) or tier in _STANDARD_TIERS:
            self.uplifts = self._region
        else:
            self.uplifts = (*self._region, tier[:_TIER_CHARS_MAX])

    def _shown(self, sent: Raw | None) -> Raw:
        return shown(self._job, sent, self.usage, self.said)


def _framed(fields: dict[str, Raw]) -> bytes:
    """One event, in one line: its values are as they came, perhaps in several lines of data."""
    return b"data: " + _encode(fields).replace(b"\n", b" ") + b"\n\n"


def _lowered(before: TokenUsage, told: TokenUsage) -> bool:
    """Whether a later usage says that nothing was read, or nothing said, of what was counted before: it is none then."""
    return bool((before.prompt and not told.prompt) or (before.completion and not told.completion))


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


def _hear(choices: Raw, heard: Said) -> None:
    """Content, reasoning and arguments in raw choices."""
    try:
        decoded = _decode_choices(choices)
    except UNREADABLE:
        heard.add(
            bytes(choices).decode(errors="replace")
        )  # an unknown shape: it says no more than it is long
        return
    for choice in decoded:
        said = choice.delta or choice.message
        if said is not None:
            _hear_one(said, heard)
        elif choice.text:
            heard.add(choice.text)


def _hear_one(said: _Said, heard: Said) -> None:
    if said.content:
        heard.add(said.content)
    if said.refusal:
        heard.add(said.refusal)
    if reasoning := said.reasoning_content or said.reasoning:
        heard.add(reasoning)
    if said.function_call is not None and said.function_call.arguments:
        heard.add(said.function_call.arguments)
    if not said.tool_calls:
        return
    for call in said.tool_calls:
        if call.function is not None and call.function.arguments:
            heard.add(call.function.arguments)
        elif call.custom is not None and call.custom.input:
            heard.add(call.custom.input)


def _absent(fields: dict[str, Raw], key: str) -> bool:
    raw = fields.get(key)
    return raw is None or bytes(raw) == b"null"


def _with_usage(raw: Raw | None) -> Raw:
    options = {} if raw is None or bytes(raw) == b"null" else _decode_map(raw)
    options["include_usage"] = _TRUE
    return Raw(_encode(options))
