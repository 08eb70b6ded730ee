"""Owns one Responses call to an upstream that speaks the dialect: events pass on, and what is billed is read of them."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.regions import is_openai, openai_region
from schemas.chat.caching import LONG_TTLS, may_name, ttls
from schemas.json import UNREADABLE, mending
from schemas.money.pricing import TokenUsage
from schemas.responses.response import response_id
from workers.answers.said import Said
from workers.providers.base import Fault
from workers.providers.faults import CUT, NONSENSE
from workers.providers.openai.errors import fault_within
from workers.providers.openai.fields import absent
from workers.providers.openai.names import Names
from workers.providers.openai.responses.costed import shown
from workers.providers.openai.responses.marking import Marking
from workers.providers.openai.responses.produced import Items, hear_whole
from workers.providers.openai.responses.request import asked, headers, without_reasoning
from workers.providers.openai.responses.usage import token_usage
from workers.providers.openai.uplifts import TIER, served_by
from workers.upstream.halves import Halves
from workers.upstream.request import UpstreamRequest
from workers.upstream.sse import EventReader, EventTooLargeError

BASE_URL: Final = "https://api.openai.com/v1"
_HEAD: Final = frozenset(("response.created", "response.in_progress", "response.queued"))
_LAST: Final = frozenset(("response.completed", "response.incomplete"))
_FAILED: Final = "response.failed"
_DELTA: Final = "response.output_text.delta"
_DELTA_LINES: Final = b"event: response.output_text.delta\ndata: "
_NAMES: Final = "response."
_UNVERIFIED: Final = b"invalid_encrypted_content"
_STANDARD_TIERS: Final = frozenset(("", "auto", "default", "standard"))
_HEAD_EVENTS_MAX: Final = 8  # which wait for what comes behind them: some servers keep a stream open by more
_NOTHING: Final = Raw(b"[]")
_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


class _Event(Struct):
    """One event, as far as it is read; `response` is there at a stream's ends alone, `item` at those of an item."""

    type: str = ""
    delta: Any = None
    response: Raw = Raw(b"")
    item: Raw = Raw(b"")


_decode_event = msgspec.json.Decoder(_Event).decode


class ResponsesExchange:
    """One call. Its head waits for the first event behind it, so that a failure at once can be tried elsewhere."""

    __slots__ = (
        "_added",
        "_events",
        "_fields",
        "_halves",
        "_head",
        "_items",
        "_job",
        "_last_account",
        "_long_cache",
        "_marking",
        "_names",
        "_own_host",
        "_region",
        "_told",
        "_waived",
        "fault",
        "finished",
        "said",
        "thoughts",
        "uplifts",
        "usage",
    )

    def __init__(self, job: Job, added: tuple[str, ...] = ()) -> None:
        self.thoughts: dict[str, str] = {}
        self._job = job
        self._told = Raw(_encode(response_id(job.request_id))), Raw(_encode(job.model))  # in each response
        self._added = added  # fields that its pool sends on beside those that are known
        self._fields: dict[str, Raw] = {}
        self._marking = Marking.of_job(job)
        self._names: Names | None = None  # of tools, where OpenAI takes others than the caller's
        self._waived = False  # it goes on without earlier reasoning
        self._last_account: AccountSettings | None = None
        self._long_cache = may_name(job.body) and not LONG_TTLS.isdisjoint(ttls(_decode_map(job.body)))
        self._region: tuple[str, ...] = ()
        self._own_host = True
        self._restart()

    def _restart(self) -> None:
        self.usage: TokenUsage | None = None
        self.said = Said()
        self.uplifts: tuple[str, ...] = self._region
        self.finished = False
        self.fault: Fault | None = None
        self._events = EventReader()
        self._halves = Halves()
        self._head: list[bytes] | None = []  # None once it has gone
        self._items = Items()

    @property
    def output_bytes(self) -> int:
        """Bytes of what was said."""
        return self.said.count_bytes

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The call with one account's key; forgets what an earlier try has read. Raises RefusedError."""
        base = account.base_url.rstrip("/") or BASE_URL
        region = openai_region("openai", base)
        self._region = (region,) if region else ()
        self._restart()
        self._last_account = account
        own = self._own_host = is_openai(base)
        self._fields = asked(self._job, self._added, own=own, waived=self._waived)
        body = _encode(self._fields)
        self._names = (Names(body) if own and "tools" in self._fields else None) or None
        body = self._names.there(body) if self._names else body
        return UpstreamRequest("POST", f"{base}/responses", headers(account, self._job), body)

    def without(self, status: int, body: bytes) -> UpstreamRequest | None:
        """The same call once more without earlier reasoning, where the upstream cannot verify it."""
        account = self._last_account
        if self._waived or account is None or status != 400 or _UNVERIFIED not in body:
            return None
        if without_reasoning(self._fields) is None:
            return None
        self._waived = True
        return self.request(account)

    def taken(self) -> None:
        """That call was answered: nothing is to be remembered, for it says nothing of the account."""

    def answer(self, body: bytes) -> bytes:
        """The upstream's response under the caller's model, and `cost` if it was asked for."""
        try:
            body.decode()
            body = self._names.back(body) if self._names else body
            return self._whole(mending(_decode_map, body))
        except UNREADABLE:
            self.fault = NONSENSE
            return b""

    def _whole(self, response: dict[str, Raw]) -> bytes:
        status = _text(response.get("status"))
        self._count(response)
        if not absent(response, "error") or status == "failed":
            self._fail(response.get("error"))
            return b""
        output = bytes(response.get("output", b""))
        if status not in ("completed", "incomplete") or not output.startswith(b"["):
            self.fault = NONSENSE
            return b""
        hear_whole(output, self.said)
        self.finished = True
        return _encode(self._own(response))

    def feed(self, data: bytes) -> bytes:
        """The upstream's events under the caller's model."""
        if self._over():
            return b""
        try:
            events = self._events.feed(data)
        except EventTooLargeError:
            self.fault = NONSENSE
            return b""
        if self._names:
            events = [self._names.back(event) for event in events]
        out: list[bytes] = []
        for event in events:
            self._event(event, out)
            if self.finished or self.fault is not None:
                break
        return b"".join(out)

    def close(self) -> bytes:
        """What a last event without its blank line still says. A stream that ends without its last event was cut."""
        out: list[bytes] = []
        if not self._over():
            if rest := self._events.end():
                self._event(rest, out)
            if not self._over():
                self.fault = CUT
        return b"".join(out)

    def _over(self) -> bool:
        return self.finished or self.fault is not None

    def _event(self, raw: bytes, out: list[bytes]) -> None:
        if raw.startswith(b"[DONE]"):
            return
        if not self._halves.waiting:
            try:
                out += self._read(raw)
            except UNREADABLE:
                self._cut(raw, out)
        else:
            self._cut(raw, out)

    def _cut(self, raw: bytes, out: list[bytes]) -> None:
        """An event that may hold, or complete, half a character."""
        try:
            for told in self._halves.each(self._read, raw):
                out += told
        except UNREADABLE:
            self.fault = NONSENSE

    def _read(self, raw: bytes) -> list[bytes]:
        """The caller's events for one of the provider's. Raises UNREADABLE."""
        if not raw.isascii():
            raw.decode()
        event = _decode_event(raw)
        # Nearly all are this one, so it has a way of its own: a stream then costs what one of chat does.
        if (
            event.type == _DELTA
            and self._head is None
            and not event.response
            and isinstance(event.delta, str)
        ):
            self.said.add(event.delta)
            marked = raw if self._marking is None else self._marking.event(raw)
            return [_DELTA_LINES + marked.replace(b"\n", b" ") + b"\n\n"]
        if event.type.startswith(_NAMES):
            return self._named(event, raw)
        if event.type == "error":
            self._fail(_error_of(raw))
        return []

    def _named(self, event: _Event, raw: bytes) -> list[bytes]:
        if event.response and bytes(event.response).startswith(b"{"):
            response = _decode_map(event.response)
            if event.type == _FAILED:
                self._count(response)
                self._fail(response.get("error"))
                return []
            if event.type in _LAST:
                self._count(response)
                if self.usage is None:  # whatever was never said piece by piece stands here
                    hear_whole(response.get("output", _NOTHING), self.said)
            else:  # a caller who hangs up is billed by what is known till then
                self._served_by(response)
            raw = _encode(_decode_map(raw) | {"response": Raw(_encode(self._own(response)))})
            self.finished = event.type in _LAST
        elif event.type in _LAST or event.type == _FAILED:
            self.fault = NONSENSE
            return []
        else:
            raw = self._piece(event, raw)
        framed = b"event: %b\ndata: %b\n\n" % (event.type.encode(), raw.replace(b"\n", b" "))
        if self._head is None:
            return [framed]
        if event.type in _HEAD and len(self._head) < _HEAD_EVENTS_MAX:
            self._head.append(framed)
            return []
        held, self._head = self._head, None
        return [*held, framed]

    def _piece(self, event: _Event, raw: bytes) -> bytes:
        """An event of the answer's own content, counted and as the caller gets it."""
        if isinstance(event.delta, str):
            self.said.add(event.delta)
        elif event.item:
            self._items.hear(event.type, event.item, self.said)
        return raw if self._marking is None else self._marking.event(raw)

    def _own(self, response: dict[str, Raw]) -> dict[str, Raw]:
        response["id"], response["model"] = self._told
        response["store"] = Raw(b"false")
        if self._marking is not None and "output" in response:
            response["output"] = self._marking.output(response["output"])
        if not absent(response, "usage"):
            usage = shown(self._job, response["usage"], self.usage, self.said)
            if usage is not None:
                del response["usage"]
                response["usage"] = usage  # as the last field
        return response

    def _count(self, response: Mapping[str, Raw]) -> None:
        if not absent(response, "usage"):
            self.usage = token_usage(response["usage"], long_cache=self._long_cache, own=self._own_host)
        self._served_by(response)

    def _served_by(self, response: Mapping[str, Raw]) -> None:
        """The tier that serves, as last told: a response that began at one may end at another."""
        if not absent(response, TIER):
            self.uplifts = served_by(self._region, _text(response[TIER]), _STANDARD_TIERS)

    def _fail(self, error: Raw | None) -> None:
        self.fault = fault_within(error, served=self.usage is not None or self.output_bytes > 0)


def _error_of(raw: bytes) -> Raw:
    """The error of an error event: flat as the schema has it, or an object as other servers write it."""
    fields = _decode_map(raw)
    del fields["type"]  # which is that of the event
    nested = fields.get("error")
    return nested if nested is not None and bytes(nested).startswith(b"{") else Raw(_encode(fields))


def _text(raw: Raw | None) -> str:
    return str(msgspec.json.decode(raw)) if raw is not None and bytes(raw).startswith(b'"') else ""
