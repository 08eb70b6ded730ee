"""Owns a tool loop of LangChain and its embeddings: reads steps, runs the document's block for each, prints what came."""

import functools
import json
import operator
import sys
from typing import Any

import tiktoken
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

TURNS_MAX = 3


def loop(model: Any, *, stream: bool) -> dict[str, Any]:
    seen = []

    @tool
    def look(at: str) -> str:
        """Looks at something."""
        seen.append(at)
        return f"seen {at}"

    bound, messages = model.bind_tools([look]), [HumanMessage("Look at x and y.")]
    for _ in range(TURNS_MAX):
        chunks = bound.stream(messages) if stream else [bound.invoke(messages)]
        messages.append(functools.reduce(operator.add, chunks))
        if not messages[-1].tool_calls:
            break
        messages += [look.invoke(call) for call in messages[-1].tool_calls]
    used = messages[-1].usage_metadata
    return {"text": messages[-1].text, "seen": seen, "usage": [used["input_tokens"], used["output_tokens"]]}


def step(code: str, use: str, *, stream: bool = False, texts: list[str] | None = None, **more: Any) -> Any:
    defined: dict[str, Any] = {}
    exec(code, defined)
    if texts is None:
        return loop(defined[use], stream=stream)
    vectors = defined[use].model_copy(update=more)
    return [*vectors.embed_documents(texts), vectors.embed_query(texts[0])]


# Its own tables of tokens would have to be fetched: here a byte is a token.
tiktoken.registry.ENCODINGS["cl100k_base"] = tiktoken.Encoding(
    "cl100k_base",
    pat_str=".",
    mergeable_ranks={bytes([byte]): byte for byte in range(256)},
    special_tokens={},
)
sys.stdout.write(json.dumps([step(**asked) for asked in json.load(sys.stdin)]) + "\n")
