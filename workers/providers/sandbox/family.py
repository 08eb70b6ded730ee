"""Owns the sandbox: a model without an upstream, which answers inside this process and says what it is."""

from collections.abc import AsyncIterator, Mapping

from schemas.errors import WireError
from workers.providers.openai.family import OpenAI
from workers.providers.sandbox import vectors
from workers.providers.sandbox.request import read
from workers.providers.sandbox.script import Script
from workers.upstream.http import UpstreamAnswer
from workers.upstream.request import UpstreamRequest


class Sandbox(OpenAI):
    """Speaks OpenAI's protocol like its parent, to an upstream inside this process."""

    def upstream(self, words_per_s: float) -> "SandboxUpstream":
        """What answers the calls of this family."""
        return SandboxUpstream(words_per_s)


class SandboxUpstream:
    """An upstream without a network: each piece of output is one token."""

    def __init__(self, words_per_s: float) -> None:
        self._pause_s = 1.0 / words_per_s if words_per_s > 0 else 0.0

    async def open(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Answers 200, or 400 to a body that is not a request."""
        if request.url.endswith("/embeddings"):
            wanted = vectors.read(request.body)
            if isinstance(wanted, WireError):
                return SandboxAnswer(400, _once(wanted.body()))
            return SandboxAnswer(200, vectors.answer(wanted))
        asked = read(request.body)
        if isinstance(asked, WireError):
            return SandboxAnswer(400, _once(asked.body()))
        legacy = request.url.endswith("/completions") and not request.url.endswith("/chat/completions")
        script = Script(asked, legacy=legacy, pause_s=self._pause_s)
        return SandboxAnswer(200, script.stream() if asked.stream else script.plain())

    async def aclose(self) -> None:
        """Nothing to close."""


class SandboxAnswer:
    """An answer whose body is generated as it is read."""

    def __init__(self, status: int, body: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._body = body

    async def read(self) -> bytes:
        """The next bytes, when their time has come; b"" at the end."""
        return await anext(self._body, b"")

    def close(self) -> None:
        """Nothing runs between reads."""


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
