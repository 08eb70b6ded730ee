"""Owns how many tokens a Messages request likely has: what callers decide by when to compact a conversation."""

from typing import Final

from msgspec import Raw

from schemas.dialects.messages.request import Block, MessagesRequest, Source
from schemas.estimates.sample import of_texts
from schemas.estimates.starts import start_of
from schemas.estimates.weighed import tokens_of
from schemas.media.encoded import size_bytes

COUNT: Final = "messages.count"  # the `dialect` of a job that wants no answer but its provider's own count
COUNT_S: Final = 3.0  # how long that is waited for

IMAGE_TOKENS: Final = 1_600
PAGE_TOKENS: Final = 2_000
PAGE_BYTES: Final = 50_000  # of a PDF, where its pages are not counted
MESSAGE_TOKENS: Final = 8  # around each turn
DEPTH_MAX: Final = 8  # of blocks in one another
_BYTES_A_TOKEN_X10: Final = 35


def likely_tokens(count_bytes: int) -> int:
    """Tokens in so many bytes of what reaches a model, where nobody looks at them."""
    return -(-count_bytes * 10 // _BYTES_A_TOKEN_X10)


def count(asked: MessagesRequest, upstream: str = "") -> int:
    """The estimate for a request at a model: every text that reaches it, its pictures and documents."""
    counter = _Counter()
    counter.content(asked.system)
    for turn in asked.messages:
        counter.tokens += MESSAGE_TOKENS
        counter.content(turn.content)
    for tool in asked.tools or ():
        counter.texts(tool.name, tool.description)
        counter.raw(tool.input_schema)
    return tokens_of(of_texts(counter.said), start_of(upstream).factor) + counter.tokens


class _Counter:
    """Adds up a request: its texts, and tokens of what is none."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.tokens = 0

    def texts(self, *texts: str | None) -> None:
        self.said += [text for text in texts if text]

    def raw(self, value: Raw) -> None:
        if raw := bytes(value):
            self.said.append(raw.decode())

    def content(self, content: object, depth: int = 0) -> None:
        if isinstance(content, str):
            self.texts(content)
        elif isinstance(content, list) and depth <= DEPTH_MAX:
            for block in content:
                self._block(block, depth)

    def _block(self, block: Block, depth: int) -> None:
        self.texts(block.text, block.thinking, block.title, block.name, block.tool_name)
        self.raw(block.input)
        self.content(block.content, depth + 1)
        source = block.source
        if isinstance(source, str):
            self.texts(source)
        elif source is not None:
            self._source(block.type, source, depth)

    def _source(self, kind: str, source: Source, depth: int) -> None:
        if kind == "image":
            self.tokens += IMAGE_TOKENS
        elif source.type == "base64":
            pages = max(1, size_bytes(source.data, 0) // PAGE_BYTES)
            self.tokens += pages * PAGE_TOKENS
        else:
            self.texts(source.data)
            self.content(source.content, depth + 1)
