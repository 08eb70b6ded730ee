"""Owns one face for the four fake providers, so that a test of the whole path can play the same scene on each."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self

from msgspec import Struct

from tests.fakes import anthropic, bedrock, dialects, gemini, openai
from tests.fakes.dialects import Answer


class Error(Struct, frozen=True):
    """A provider's refusal: `body` is its JSON, but for Bedrock, whose errors are a `name` and the words in `body`."""

    status: int
    body: Any = None
    headers: dict[str, str] = {}
    name: str = ""


class Stage(Protocol):
    """One fake provider. Answers are played in the order they were queued; without one it says a default."""

    provider: ClassVar[str]
    events: ClassVar[Callable[[Answer], list[Any]]]  # as real HTTP carries them
    broken: ClassVar[Any]  # an event that says, in a stream under way, that the provider is overloaded

    @property
    def bodies(self) -> list[Any]:
        """The JSON of each request that the provider let in."""
        ...

    @property
    def account(self) -> str:
        """The account's lines in tokn.toml, but for its id."""
        ...

    def play(
        self, answer: Answer, *, end: int | None = None, cut: int | None = None, broken: int | None = None
    ) -> None:
        """Queues an answer. A stream ends cleanly (`end`), is reset (`cut`) or says an error after so many events."""
        ...

    def fail(self, error: Error) -> None:
        """Queues a refusal."""
        ...

    def forget(self) -> None:
        """Drops what is queued."""
        ...

    def lose(self, upstream: str) -> None:
        """From now on the provider says that this model is gone."""
        ...


PACE_S = 0.02  # before each event of a stream that is reset: what was sent must have arrived by then


class OpenAIStage:
    """OpenAI, in a thread of its own."""

    provider: ClassVar[str] = "openai"
    events = staticmethod(dialects.openai_events)
    broken = openai.event(
        {"error": {"message": "busy", "type": "server_error", "code": "server_is_overloaded"}}
    )
    account = property(
        lambda self: f'api_key = "{openai.API_KEY}"\nbase_url = "http://127.0.0.1:{self._port}/v1"\n'
    )

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self._queue: list[Callable[[openai.Received], openai.Reply]] = []
        self._gone: set[str] = set()
        self._fake = openai.FakeOpenAI(self._answer)
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._fake.start())
        self._port = self._fake.port
        self._up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._fake.close())
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _answer(self, received: openai.Received) -> openai.Reply:
        body = received.json
        if body["model"] in self._gone:
            return openai.error(404, f"The model `{body['model']}` does not exist", code="model_not_found")
        self.bodies.append(body)
        return self._queue.pop(0)(received) if self._queue else openai.answer(received)

    def play(
        self, answer: Answer, *, end: int | None = None, cut: int | None = None, broken: int | None = None
    ) -> None:
        """Queues an answer."""

        def reply(received: openai.Received) -> openai.Reply:
            if not received.json.get("stream"):
                return openai.Reply(pieces=[dialects.openai_body(answer)], length=True)
            pieces: list[openai.Piece] = []
            for event in _until(dialects.openai_events(answer), self.broken, end, cut, broken):
                pieces += [event] if cut is None else [event, PACE_S]
            return openai.Reply(pieces=pieces, cut=cut is not None)

        self._queue.append(reply)

    def fail(self, error: Error) -> None:
        """Queues a refusal."""
        self._queue.append(
            lambda _: openai.Reply(
                error.status, [openai.json.dumps(error.body).encode()], error.headers, length=True
            )
        )

    def forget(self) -> None:
        """Drops what is queued."""
        self._queue.clear()

    def lose(self, upstream: str) -> None:
        """The model is gone."""
        self._gone.add(upstream)


class _Scripted:
    """What the fakes with a queue of scripts share."""

    provider: ClassVar[str]
    module: ClassVar[Any]
    make: ClassVar[type[Any]]
    objects: ClassVar[Callable[[Answer], list[Any]]]
    broken: ClassVar[Any]

    def __init__(self) -> None:
        self._fake = self.make()

    def __enter__(self) -> Self:
        self._fake.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._fake.__exit__(*error)

    @property
    def bodies(self) -> list[Any]:
        """The JSON of each request that was let in."""
        return [call.body for call in self._fake.calls]

    @property
    def account(self) -> str:
        """The account's lines in tokn.toml, but for its id."""
        return f'api_key = "{self.module.API_KEY}"\nbase_url = "{self._fake.base_url}"\n'

    def play(
        self, answer: Answer, *, end: int | None = None, cut: int | None = None, broken: int | None = None
    ) -> None:
        """Queues an answer."""
        events = type(self).objects(answer)
        if broken is not None:
            events = [*events[:broken], self.broken]
        pace_s = 0.0 if cut is None else PACE_S
        self._fake.play(self.module.Script(tuple(events), cut=cut, end=end, pace_s=pace_s))

    def forget(self) -> None:
        """Drops what is queued."""
        self._fake._scripts.clear()

    def lose(self, upstream: str) -> None:
        """The model is gone."""
        self._fake.gone.add(upstream)


class AnthropicStage(_Scripted):
    """Anthropic."""

    provider = "anthropic"
    module = anthropic
    make = anthropic.FakeAnthropic
    objects = staticmethod(dialects.anthropic_objects)
    events = staticmethod(dialects.anthropic_events)
    broken = anthropic.error_body("overloaded_error", "Overloaded")

    def fail(self, error: Error) -> None:
        """Queues a refusal."""
        self._fake.play(anthropic.Script(status=error.status, error=error.body, headers=error.headers))


class GeminiStage(_Scripted):
    """Gemini."""

    provider = "gemini"
    module = gemini
    make = gemini.FakeGemini
    objects = staticmethod(dialects.gemini_objects)
    events = staticmethod(dialects.gemini_events)
    broken = gemini.error_body(503, "UNAVAILABLE", "The model is overloaded.")

    def fail(self, error: Error) -> None:
        """Queues a refusal."""
        self._fake.play(gemini.Script(status=error.status, error=error.body))


class BedrockStage:
    """Bedrock, by SigV4."""

    provider: ClassVar[str] = "bedrock"
    events = staticmethod(dialects.bedrock_events)
    broken = bedrock.frames.exception("serviceUnavailableException", "busy")

    def __init__(self) -> None:
        self._fake = bedrock.Bedrock(self._respond)
        self._queue: list[Callable[[bedrock.Call], bedrock.Reply]] = []

    def __enter__(self) -> Self:
        self._fake.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._fake.__exit__(*error)

    def _respond(self, call: bedrock.Call) -> bedrock.Reply:
        return self._queue.pop(0)(call) if self._queue else bedrock._default(call)

    @property
    def bodies(self) -> list[Any]:
        """The JSON of each request that was let in."""
        return [call.body for call in self._fake.calls]

    @property
    def account(self) -> str:
        """The account's lines in tokn.toml, but for its id."""
        return bedrock.account_toml(self._fake.base_url).split('id = "main"\n')[1]

    def play(
        self, answer: Answer, *, end: int | None = None, cut: int | None = None, broken: int | None = None
    ) -> None:
        """Queues an answer."""

        def reply(call: bedrock.Call) -> bedrock.Reply:
            if not call.verb.endswith("stream"):
                return bedrock.Reply(body=dialects.bedrock_body(answer))
            frames = list(dialects.bedrock_events(answer))
            if broken is not None:
                frames = [*frames[:broken], self.broken]
            return bedrock.Reply(frames=frames, end=end, cut=cut, pace_s=0.0 if cut is None else PACE_S)

        self._queue.append(reply)

    def fail(self, error: Error) -> None:
        """Queues a refusal."""
        self._queue.append(
            lambda _: bedrock.Reply(error=error.name, message=error.body or "no", headers=error.headers)
        )

    def forget(self) -> None:
        """Drops what is queued."""
        self._queue.clear()

    def lose(self, upstream: str) -> None:
        """The model is gone."""
        self._fake.gone.add(upstream)


STAGES: tuple[type[Any], ...] = (OpenAIStage, AnthropicStage, GeminiStage, BedrockStage)


def _until(
    events: list[Any], broken_event: Any, end: int | None, cut: int | None, broken: int | None
) -> list[Any]:
    if broken is not None:
        return [*events[:broken], broken_event]
    count = end if end is not None else cut
    return events if count is None else events[:count]
