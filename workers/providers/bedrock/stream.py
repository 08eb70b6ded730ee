"""Owns one call of Bedrock, whatever its API: signing, the frames of its stream, and what a call has said so far."""

from functools import partial
from typing import Final

from runtime.settings.settings import AccountSettings
from schemas.catalogue.model import Model
from schemas.json import UNREADABLE
from schemas.money.pricing import TokenUsage
from workers.answers.base import Answer
from workers.answers.said import Said
from workers.providers.base import Fault
from workers.providers.bedrock.auth import Signer
from workers.providers.bedrock.errors import fault_of_exception
from workers.providers.bedrock.event_stream import FrameBuffer, FrameError
from workers.providers.faults import NONSENSE
from workers.upstream.halves import Halves
from workers.upstream.request import UpstreamRequest

_HEADERS: Final = {"content-type": "application/json"}


class BedrockExchange:
    """What the calls of all of Bedrock's APIs share. A subclass reads the answer and the events.

    `verb` ends the path of the call; `accept` names the header that asks for JSON.
    """

    def __init__(
        self,
        model: Model,
        body: bytes,
        answer: Answer,
        signer: Signer,
        *,
        verb: str,
        accept: str,
    ) -> None:
        self._upstream = model.upstream
        self._body = body
        self._render = answer
        self._signer = signer
        self._verb = verb
        self._accept = accept
        self._restart()

    def _restart(self) -> None:
        self.usage: TokenUsage | None = None
        self.uplifts: tuple[str, ...] = ()
        self.output_bytes = 0
        self.finished = False
        self.fault: Fault | None = None
        self.thoughts: dict[str, str] = {}
        self._buffer = FrameBuffer()
        self._halves = Halves()
        self._begun = False  # an event has come: the provider is at work
        self._reason: str | None = None

    @property
    def said(self) -> Said:
        """The output so far."""
        return self._render.said

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The signed call; forgets what an earlier try has read. Raises AccountError without credentials."""
        self._restart()
        self._render.restart()
        url, headers = self._signer.call(account, self._upstream, self._verb, _HEADERS, self._body)
        headers[self._accept] = "application/json"
        return UpstreamRequest("POST", url, headers, self._body)

    def feed(self, data: bytes) -> bytes:
        """The caller's events for some bytes of the stream."""
        if self.fault is not None or self.finished:
            return b""
        out: list[bytes] = []
        try:
            for head, payload in self._buffer.frames(data):
                if head.kind == "event":
                    self._begun = True
                    out += self._halves.each(partial(self._event, head.name), payload)
                else:
                    self.fault = fault_of_exception(head.name, payload, head.message, begun=self._begun)
                if self.fault is not None or self.finished:
                    break
        except (FrameError, *UNREADABLE):
            self.fault = NONSENSE
        self.output_bytes = self._render.output_bytes
        return b"".join(out)

    def _event(self, name: str, payload: bytes) -> bytes:
        """The caller's events for one event of the stream. Raises FrameError or one of UNREADABLE for nonsense."""
        raise NotImplementedError
