"""Owns tool-call ids on their way to providers that take each once: repeats are numbered, and results follow their own call."""

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final

ID_CHARS_MAX: Final = 64  # of the ids that Anthropic and Bedrock take


class CallIds:
    """Ids of one conversation, in its order: the same history gives the same ids, so that a cached prompt stays one.

    Some models count their calls anew in each turn (`call_0`, `list_dir:0`), and a function of the legacy kind is
    known by its name alone. `spelt` writes an id as the provider takes it.
    """

    def __init__(self, spelt: Callable[[str], str]) -> None:
        self._spelt = spelt
        self._used: set[str] = set()
        self._times: dict[str, int] = defaultdict(int)
        self._waiting: dict[str, deque[str]] = defaultdict(
            deque
        )  # by the caller's id: calls without their result
        self._newest: dict[str, str] = {}
        self._answered = False  # results have come since the last call

    def call(self, call_id: str) -> str:
        """The id of one more call."""
        if self._answered:
            self._waiting.clear()  # what an earlier turn left without a result gets none of this turn's
            self._answered = False
        sent = self._unused(self._spelt(call_id))
        self._waiting[call_id].append(sent)
        self._newest[call_id] = sent
        return sent

    def result(self, call_id: str) -> str:
        """The id of the call that a result belongs to: of several alike, the first that has none yet."""
        self._answered = True
        if waiting := self._waiting.get(call_id):
            return waiting.popleft()
        return self._newest.get(call_id) or self._spelt(call_id)

    def _unused(self, name: str) -> str:
        sent = name
        while sent in self._used:
            self._times[name] += 1
            number = f"_{self._times[name] + 1}"
            sent = name[: ID_CHARS_MAX - len(number)] + number
        self._used.add(sent)
        return sent
