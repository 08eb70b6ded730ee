"""Owns how the scripted upstream says its words in the dialects that chat's chunks are not: responses, messages, vectors."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any, Protocol

CREATED = 1_763_769_600
SIZE = 2  # numbers in a vector
RESPONSES, MESSAGES, VECTORS = "/responses", "/messages", "/embeddings"  # how a path ends


class Counts(Protocol):
    """What is reported of one answer: tokens read, those of them that were cached, said, and of those reasoning."""

    prompt: int
    cached: int
    reasoning: int

    @property
    def said(self) -> int:
        """Tokens of output."""
        ...


def event(fields: dict[str, Any]) -> bytes:
    """One event under its name."""
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()


class Responses:
    """A response of one message."""

    def __init__(self, model: str, words: list[str], counts: Counts) -> None:
        self._words = words
        self._number = 0
        self._item = {"id": "msg_up", "type": "message", "role": "assistant"}
        self._whole: dict[str, Any] = {
            "id": "resp_up",
            "object": "response",
            "created_at": CREATED,
            "model": model,
            "error": None,
            "incomplete_details": None,
            "store": False,
            "service_tier": "default",
        }
        self._usage = {
            "input_tokens": counts.prompt,
            "input_tokens_details": {"cached_tokens": counts.cached, "cache_write_tokens": 0},
            "output_tokens": counts.said,
            "output_tokens_details": {"reasoning_tokens": counts.reasoning},
            "total_tokens": counts.prompt + counts.said,
        }

    def plain(self) -> dict[str, Any]:
        """The whole answer."""
        part = {"type": "output_text", "text": "".join(self._words), "annotations": [], "logprobs": []}
        message = self._item | {"status": "completed", "content": [part]}
        return self._whole | {"status": "completed", "output": [message], "usage": self._usage}

    def events(self) -> Iterator[bytes]:
        """What stands before all words and the first of them, an event a word, and what stands after them."""
        begun = self._whole | {"status": "in_progress", "output": [], "usage": None}
        at: dict[str, Any] = {"item_id": "msg_up", "output_index": 0, "content_index": 0}
        (message,) = self.plain()["output"]
        (part,) = message["content"]
        head = self._event("created", response=begun) + self._event("in_progress", response=begun)
        head += self._event("output_item.added", output_index=0, item=message | {"content": []})
        head += self._event("content_part.added", **at, part=part | {"text": ""})
        for word in self._words:
            yield head + self._event("output_text.delta", **at, delta=word, logprobs=[])
            head = b""
        tail = self._event("output_text.done", **at, text=part["text"], logprobs=[])
        tail += self._event("content_part.done", **at, part=part)
        tail += self._event("output_item.done", output_index=0, item=message)
        yield head + tail + self._event("completed", response=self.plain())

    def _event(self, name: str, **fields: Any) -> bytes:
        self._number += 1
        return event({"type": f"response.{name}", "sequence_number": self._number - 1} | fields)


class Messages:
    """A message of one block."""

    def __init__(self, model: str, words: list[str], counts: Counts) -> None:
        self._words = words
        self._usage = {
            "input_tokens": counts.prompt - counts.cached,
            "cache_read_input_tokens": counts.cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": counts.said,
            "output_tokens_details": {"thinking_tokens": counts.reasoning},
        }
        self._whole: dict[str, Any] = {
            "id": "msg_up",
            "type": "message",
            "role": "assistant",
            "model": model,
            "stop_sequence": None,
        }

    def plain(self) -> dict[str, Any]:
        """The whole answer."""
        content = [{"type": "text", "text": "".join(self._words)}]
        return self._whole | {"content": content, "stop_reason": "end_turn", "usage": self._usage}

    def events(self) -> Iterator[bytes]:
        """What stands before all words and the first of them, an event a word, and what stands after them."""
        begun = {"content": [], "stop_reason": None, "usage": self._usage | {"output_tokens": 1}}
        head = event({"type": "message_start", "message": self._whole | begun})
        head += event(
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        )
        for word in self._words:
            delta = {"type": "text_delta", "text": word}
            yield head + event({"type": "content_block_delta", "index": 0, "delta": delta})
            head = b""
        tail = event({"type": "content_block_stop", "index": 0})
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        tail += event({"type": "message_delta", "delta": delta, "usage": self._usage})
        yield head + tail + event({"type": "message_stop"})


class Vectors:
    """The vector of one input, as base64. There are no streams of it."""

    def __init__(self, model: str, words: list[str], counts: Counts) -> None:
        del words
        self._model = model
        self._usage = {"prompt_tokens": counts.prompt, "total_tokens": counts.prompt}

    def plain(self) -> dict[str, Any]:
        """The whole answer."""
        vector = base64.b64encode(struct.pack(f"<{SIZE}f", *[0.5] * SIZE)).decode()
        data = [{"object": "embedding", "index": 0, "embedding": vector}]
        return {"object": "list", "data": data, "model": self._model, "usage": self._usage}

    def events(self) -> Iterator[bytes]:
        """None."""
        return iter(())


TOLD: dict[str, type[Responses | Messages | Vectors]] = {
    RESPONSES: Responses,
    MESSAGES: Messages,
    VECTORS: Vectors,
}
