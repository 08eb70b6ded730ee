"""Owns how a translated answer looks in the dialect of Responses: one response object, streamed or whole."""

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import msgspec
from msgspec import Raw

from schemas.bus.frames import Job
from schemas.dialects.blobs import Blob, seal
from schemas.money.pricing import TokenUsage
from schemas.responses.local_tools import LOCAL_TOOLS
from schemas.responses.marks import Marks
from schemas.responses.request import RESPONSES
from schemas.responses.response import Shape, bare
from schemas.responses.tools import CUSTOM, FUNCTION, Named
from schemas.responses.translate import ENCRYPTED, names_of, read
from workers.answers.beliefs import believable
from workers.answers.costs import cost
from workers.answers.responses.events import Events, encode
from workers.answers.responses.items import CUT, DONE, CallItem, Item, LocalItem, MessageItem, ReasoningItem
from workers.answers.said import Said

_WHY: dict[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
_PREFIXES = {FUNCTION: "fc", CUSTOM: "ctc"}
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


class ResponsesAnswer:
    """Items in the order in which they begin, one open at a time. There is one choice, and one exchange."""

    __slots__ = (
        "_calls",
        "_created_s",
        "_encrypted",
        "_events",
        "_finish",
        "_item",
        "_items",
        "_job",
        "_marks",
        "_names",
        "_opened",
        "_shape",
        "_tool_empty",
        "said",
    )

    dialect: ClassVar[str] = RESPONSES
    terminal: ClassVar[tuple[bytes, ...]] = (
        b"event: response.completed\n",
        b"event: response.incomplete\n",
    )

    def __init__(self, job: Job) -> None:
        request = read(job.body)
        self._job = job
        self._names = names_of(request)
        self._encrypted = ENCRYPTED in (request.include or ())
        self._created_s = job.published_ms // 1000
        self._marks = Marks(job.scope, job.request_id, job.limit) if job.keeps else None
        self._shape = Shape(job.request_id, self._created_s, job.model, _decode_map(job.body))
        self.restart()

    @classmethod
    def of_job(cls, job: Job, exchanges: int, echoes: Sequence[str]) -> list[Self]:
        """The one answer of a job."""
        del echoes
        return [cls(job) for _ in range(exchanges)]

    def restart(self) -> None:
        """Forgets everything said: another account is tried from the beginning."""
        self._events = Events(plain=not self._job.stream)
        self._items: list[bytes] = []  # those that are closed
        self._item: Item | None = None  # the open one
        self._opened = False
        self._finish: str | None = None
        self._calls = 0
        self._tool_empty = False
        self.said = Said()

    @property
    def output_bytes(self) -> int:
        """Bytes of what was said."""
        return self.said.count_bytes

    def open(self, choice: int = 0) -> bytes:
        """The response without an item."""
        del choice
        if self._opened:
            return b""
        self._opened = True
        if self._events.plain:
            return b""
        response = b'"response":' + self._shape.whole("in_progress")
        return self._events.event(b"created", response) + self._events.event(b"in_progress", response)

    def text(self, choice: int, text: str, logprobs: Sequence[dict[str, Any]] | None = None) -> bytes:
        """A piece of the open message, or of a new one."""
        return self._say(choice, text, logprobs, refused=False)

    def refusal(self, choice: int, text: str) -> bytes:
        """The same of a refusal."""
        return self._say(choice, text, None, refused=True)

    def _say(
        self, choice: int, text: str, logprobs: Sequence[dict[str, Any]] | None, *, refused: bool
    ) -> bytes:
        out = b"" if self._opened else self.open(choice)
        if not text and not logprobs:
            return out
        self.said.add(text)
        item = self._item
        if not isinstance(item, MessageItem) or item.refused is not refused:
            out += self._close(DONE)
            item = MessageItem(self._events, len(self._items), self._id("msg"), refused=refused)
            self._item = item
            out += item.open()
        return out + item.say(text, logprobs)

    def reasoning(self, choice: int, text: str) -> bytes:
        """A piece of the open summary, or of a new one."""
        if not text:
            return b""
        out = b"" if self._opened else self.open(choice)
        self.hidden(text)
        shown, item = self._reasoning()
        return out + shown + item.show(text)

    def _reasoning(self) -> tuple[bytes, ReasoningItem]:
        if isinstance(self._item, ReasoningItem):
            return b"", self._item
        out = self._close(DONE)
        item = ReasoningItem(self._events, len(self._items), self._id("rs"))
        self._item = item
        return out + item.open(), item

    def hidden(self, text: str) -> None:
        """Counts output that the caller is not shown, for estimates."""
        self.said.add(text)

    def signature(self, choice: int, blob: Blob) -> bytes:
        """What proves reasoning to its provider, for a caller who carries it on; it closes the reasoning's item."""
        if not self._encrypted:
            return b""
        out = b"" if self._opened else self.open(choice)
        shown, item = self._reasoning()
        item.blob = seal(self._job.scope, blob)
        return out + shown + self._close(DONE)

    def tool(self, choice: int, call_id: str, name: str) -> bytes:
        """The opener of a call, under its caller's own name."""
        out = (b"" if self._opened else self.open(choice)) + self._close(DONE)
        named = self._names.get(name) or Named(FUNCTION, name)
        made = LocalItem if named.kind in LOCAL_TOOLS else CallItem
        prefix = LOCAL_TOOLS[named.kind].prefix if made is LocalItem else _PREFIXES[named.kind]
        item = made(self._events, len(self._items), self._id(prefix), call_id, named)
        self._item = item
        self._calls += 1
        self._tool_empty = True
        return out + item.open()

    def arguments(self, choice: int, fragment: str) -> bytes:
        """A fragment of the open call's arguments; empty ones are dropped."""
        del choice
        if not fragment or not isinstance(self._item, CallItem):
            return b""
        self._tool_empty = False
        self.said.add(fragment)
        return self._item.argue(fragment)

    def tool_end(self, choice: int) -> bytes:
        """Ends the open call: one that had no arguments gets "{}"."""
        return self._call_end(choice, DONE)

    def _call_end(self, choice: int, status: str) -> bytes:
        if not isinstance(self._item, CallItem):
            return b""
        out = self.arguments(choice, "{}") if self._tool_empty else b""
        return out + self._put(self._item, status)

    def tool_calls(self, choice: int) -> int:
        """How many calls there are so far."""
        del choice
        return self._calls

    def finished(self, choice: int) -> bool:
        """Whether the answer has had its finish reason."""
        del choice
        return self._finish is not None

    def finish(self, choice: int, reason: str, matched: str | None = None) -> bytes:
        """Closes the open item; a second finish is ignored."""
        del matched
        out = b"" if self._opened else self.open(choice)
        if self._finish is not None:
            return out
        self._finish = reason
        return out + self._close(CUT if reason in _WHY else DONE)

    def end(self, usage: TokenUsage | None, uplifts: tuple[str, ...] = ()) -> bytes:
        """The last event, or the whole plain body: the response with all its items and its usage."""
        why = _WHY.get(self._finish or "", "")
        status = CUT if why else DONE
        response = self._shape.whole(
            status,
            output=b"[%b]" % b",".join(self._items),
            usage=self._usage(usage),
            completed_s=None if why else max(int(time.time()), self._created_s),
            why_incomplete=why,
            uplifts=uplifts,
        )
        if self._events.plain:
            return response
        return self._events.event(status.encode(), b'"response":' + response)

    def _usage(self, usage: TokenUsage | None) -> bytes:
        told = believable(self._job, usage, self.said)
        return encode(usage_object(told) | cost(self._job))

    def _close(self, status: str) -> bytes:
        if isinstance(self._item, CallItem):
            return self._call_end(0, status)
        return b"" if self._item is None else self._put(self._item, status)

    def _put(self, item: Item, status: str) -> bytes:
        out, whole = item.close(status)
        if self._marks is not None and self._events.plain:
            whole = self._marks.exactly(whole)
        self._items.append(whole)
        self._item = None
        return out

    def _id(self, prefix: str) -> str:
        """The next item's id; that of a plain answer is marked once its length is known."""
        item_id = f"{prefix}_{bare(self._job.request_id)}_{len(self._items)}"
        return item_id if self._marks is None or self._events.plain else self._marks.loose(item_id)


def usage_object(usage: TokenUsage) -> dict[str, Any]:
    """The usage of a response: all its counts, for clients refuse one that lacks any."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached + usage.cached_audio,
            "cache_write_tokens": usage.cache_write + usage.cache_write_long,
        },
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
