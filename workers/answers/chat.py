"""Owns how a translated answer looks in the chat dialect: OpenAI's chunks and bodies of `chat.completion`."""

from collections.abc import Sequence
from typing import Any, ClassVar

from schemas.chat.request import CHAT
from workers.answers.choices import Choice, ChoicesAnswer, Kind, Tool, encode


class ChatAnswer(ChoicesAnswer):
    """Role chunk, deltas, finish chunk; or one message a choice."""

    __slots__ = ()

    dialect: ClassVar[str] = CHAT
    kind: ClassVar[Kind] = Kind(
        id_prefix="chatcmpl",
        plain="chat.completion",
        stream="chat.completion.chunk",
        text_prefix=b'"delta":{"content":',
        text_suffix=b"}",
    )

    def _opened(self, choice: int, index: int) -> bytes:
        del choice
        return b"" if self._reply.plain else self._chunk(index, b'{"role":"assistant","content":""}')

    def _logprobs(self, state: Choice, logprobs: Sequence[dict[str, Any]]) -> bytes:
        del state
        return b'},"logprobs":' + encode(_logprobs(logprobs))

    def refusal(self, choice: int, text: str) -> bytes:
        """A refusal chunk."""
        opened = b"" if choice in self._choices else self.open(choice)
        self.said.add(text)
        state = self._choices[choice]
        if self._reply.plain:
            state.refusal.append(text)
            return b""
        return opened + self._chunk(state.index, b'{"refusal":%b}' % encode(text))

    def reasoning(self, choice: int, text: str) -> bytes:
        """A chunk of `reasoning_content`: OpenAI's chat has no place for it, and this is what other servers say."""
        if not text:
            return b""
        opened = b"" if choice in self._choices else self.open(choice)
        self.hidden(text)
        state = self._choices[choice]
        if self._reply.plain:
            state.reasoning.append(text)
            return b""
        return opened + self._chunk(state.index, b'{"reasoning_content":%b}' % encode(text))

    def _tool(self, state: Choice, call_id: str, name: str) -> bytes:
        if self._reply.plain:
            state.tools.append(Tool(call_id, name, []))
            return b""
        opener = (
            b'{"tool_calls":[{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":""}}]}'
        )
        return self._chunk(state.index, opener % (state.tools_count - 1, encode(call_id), encode(name)))

    def arguments(self, choice: int, fragment: str) -> bytes:
        """A chunk with a fragment of the newest tool call's arguments; empty ones are dropped."""
        if not fragment:
            return b""
        state = self._choices[choice]
        state.tool_empty = False
        self.said.add(fragment)
        if self._reply.plain:
            state.tools[-1].arguments.append(fragment)
            return b""
        delta = b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}'
        return self._chunk(state.index, delta % (state.tools_count - 1, encode(fragment)))

    def _reason(self, state: Choice, reason: str) -> str:
        return "tool_calls" if reason == "stop" and state.tools_count else reason

    def _finish(self, state: Choice, reason: str) -> bytes:
        return self._chunk(state.index, b"{}", b'"%b"' % reason.encode())

    def _chunk(self, index: int, delta: bytes, finish: bytes = b"null") -> bytes:
        return b'data: %b{"index":%d,"delta":%b,"finish_reason":%b}%b' % (
            self._reply.head,
            index,
            delta,
            finish,
            self._reply.tail,
        )

    def _body(self, state: Choice) -> dict[str, Any]:
        content: str | None = "".join(state.content)
        if not content and (state.tools or state.refusal or state.finish == "content_filter"):
            content = None
        refusal = "".join(state.refusal) or None
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal}
        if state.reasoning:
            message["reasoning_content"] = "".join(state.reasoning)
        if state.tools:
            message["tool_calls"] = [_called(tool) for tool in state.tools]
        logprobs = _logprobs(state.logprobs) if state.logprobs else None
        return {
            "index": state.index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": state.finish,
        }


def _called(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "arguments": "".join(tool.arguments)}
    return {"id": tool.id, "type": "function", "function": function}


def _logprobs(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"content": list(entries), "refusal": None}
