"""Owns how a translated answer looks in the dialect of legacy completions: chunks and bodies of `text_completion`."""

from collections.abc import Sequence
from typing import Any, ClassVar

from schemas.chat.request import COMPLETIONS
from workers.answers.choices import Choice, ChoicesAnswer, Kind, encode
from workers.answers.said import Said


class CompletionsAnswer(ChoicesAnswer):
    """Texts without roles. The dialect has no refusals, which are text, and no tools, which are counted and not shown."""

    __slots__ = ()

    dialect: ClassVar[str] = COMPLETIONS
    kind: ClassVar[Kind] = Kind(
        id_prefix="cmpl",
        plain="text_completion",
        stream="text_completion",
        text_prefix=b'"text":',
        text_suffix=b',"logprobs":null',
    )

    def _opened(self, choice: int, index: int) -> bytes:
        """The echoed prompt, if that was asked for."""
        del index
        if not self._echo:
            return b""
        said, self.said = self.said, Said()
        echoed = self.text(choice, self._echo)
        self.said = said  # the prompt is no output
        return echoed

    def _logprobs(self, state: Choice, logprobs: Sequence[dict[str, Any]]) -> bytes:
        return b',"logprobs":' + encode(_logprobs(logprobs, state.text_chars))

    def refusal(self, choice: int, text: str) -> bytes:
        """Text: a refusal is what the model answered."""
        return self.text(choice, text)

    def _tool(self, state: Choice, call_id: str, name: str) -> bytes:
        del state, call_id, name
        return b""

    def arguments(self, choice: int, fragment: str) -> bytes:
        """Nothing; the provider bills it all the same."""
        if fragment:
            self._choices[choice].tool_empty = False
            self.said.add(fragment)
        return b""

    def _reason(self, state: Choice, reason: str) -> str:
        del state
        return "stop" if reason == "tool_calls" else reason

    def _finish(self, state: Choice, reason: str) -> bytes:
        body = b'data: %b{"index":%d,"text":"","logprobs":null,"finish_reason":"%b"}%b'
        return body % (self._reply.head, state.index, reason.encode(), self._reply.tail)

    def _body(self, state: Choice) -> dict[str, Any]:
        logprobs = _logprobs(state.logprobs, 0) if state.logprobs else None
        text = "".join(state.content)
        return {"index": state.index, "text": text, "logprobs": logprobs, "finish_reason": state.finish}


def _logprobs(entries: Sequence[dict[str, Any]], offset: int) -> dict[str, Any]:
    offsets = []
    for entry in entries:
        offsets.append(offset)
        offset += len(entry["token"])
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [
            {top["token"]: top["logprob"] for top in entry.get("top_logprobs") or ()} for entry in entries
        ],
        "text_offset": offsets,
    }
