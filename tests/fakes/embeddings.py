"""Owns the providers' embeddings routes, what they refuse and answer, and bodies that a caller might send.

Vectors are made of a hash of their text, and four bytes are a token.
"""

import base64
import hashlib
import math
import random
import struct
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

REFUSED = "(refuse me)"  # a text that holds it is refused by every provider, whatever its batch
UNCOUNTED = "(uncounted)"  # a batch that holds it is answered without a count of its tokens
OPENAI_SIZES = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
_TASKS = (
    "TASK_TYPE_UNSPECIFIED",
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
)


def tokens(item: Any) -> int:
    """How many tokens an input has."""
    return -(-len(item.encode()) // 4) if isinstance(item, str) else len(item)


def vector(item: Any, dimensions: int, length: float = 1.0) -> list[float]:
    """The vector of an input, of a length, each number one that float32 has."""
    digest = hashlib.shake_256(repr(item).encode()).digest(2 * dimensions)
    values = [value + 0.5 for value in struct.unpack(f"<{dimensions}h", digest)]
    norm = math.hypot(*values) / length
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(v / norm for v in values))))


def _inputs(body: Json) -> list[Any]:
    found = body["input"]
    return [found] if isinstance(found, str) or (found and isinstance(found[0], int)) else found


def _refused_text(text: Any) -> str:
    if not isinstance(text, str) or not text:
        return "expected minLength: 1"
    return "This text cannot be embedded." if REFUSED in text else ""


def refused_by_openai(body: Json) -> str:
    """Why OpenAI answers 400; "" if it does not."""
    if unknown := body.keys() - {"model", "input", "encoding_format", "dimensions", "user"}:
        return f"Unrecognized request argument supplied: {min(unknown)}"
    if body.get("encoding_format", "float") not in ("float", "base64"):
        return "encoding_format must be float or base64"
    found = _inputs(body) if isinstance(body.get("input"), str | list) else []
    if not 1 <= len(found) <= 2048:
        return "'input' must have 1 to 2048 inputs"
    for item in found:
        ids = isinstance(item, list) and item and all(isinstance(one, int) and one >= 0 for one in item)
        if not ids and (why := _refused_text(item)):
            return why
        if tokens(item) > 8192:
            return "This model's maximum context length is 8192 tokens."
    if "dimensions" in body:
        if body["model"] == "text-embedding-ada-002":
            return "This model does not support specifying dimensions."
        if not 1 <= body["dimensions"] <= OPENAI_SIZES.get(body["model"], 3072):
            return "dimensions is out of range"
    return ""


def openai_answer(body: Json) -> Json:
    """As OpenAI answers."""
    found = _inputs(body)
    size = body.get("dimensions") or OPENAI_SIZES.get(body["model"], 8)
    data = []
    for index, item in enumerate(found):
        values: Any = vector(item, size)
        if body.get("encoding_format") == "base64":
            values = base64.b64encode(struct.pack(f"<{size}f", *values)).decode()
        data.append({"object": "embedding", "index": index, "embedding": values})
    answer: Json = {"object": "list", "data": data, "model": body["model"]}
    if not any(UNCOUNTED in item for item in found if isinstance(item, str)):
        count = sum(map(tokens, found))
        answer["usage"] = {"prompt_tokens": count, "total_tokens": count}
    return answer


def refused_by_gemini(model: str, body: Json) -> str:
    """Why Gemini answers 400; "" if it does not."""
    if body.keys() != {"requests"} or not 1 <= len(body["requests"]) <= 100:
        return "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch"
    for one in body["requests"]:
        if one.keys() - {"model", "content", "taskType", "outputDimensionality", "title"}:
            return "Invalid JSON payload received. Unknown name."
        if one.get("model") != f"models/{model}":
            return "* EmbedContentRequest.model: does not match the model of the batch"
        if one.get("taskType", _TASKS[0]) not in _TASKS:
            return "Invalid value at 'task_type'"
        if not 128 <= one.get("outputDimensionality", 3072) <= 3072:
            return "output_dimensionality is out of range"
        content = one.get("content", {})
        if content.keys() - {"parts", "role"} or [part.keys() for part in content["parts"]] != [{"text"}]:
            return "content contains an empty Part."
        if why := _refused_text(content["parts"][0]["text"]):
            return why
    return ""


def gemini_answer(body: Json) -> Json:
    """As Gemini answers: what is cut has lost some of its length."""
    texts = [one["content"]["parts"][0]["text"] for one in body["requests"]]
    sizes = [one.get("outputDimensionality", 3072) for one in body["requests"]]
    values = [
        vector(text, size, 1.0 if size == 3072 else 0.7) for text, size in zip(texts, sizes, strict=True)
    ]
    answer: Json = {"embeddings": [{"values": one} for one in values]}
    if not any(UNCOUNTED in text for text in texts):
        answer["usageMetadata"] = {"promptTokenCount": sum(map(tokens, texts))}
    return answer


def is_on_bedrock(model: str) -> bool:
    """Whether a model id is one of Bedrock's embeddings models."""
    return "titan-embed" in model or "cohere.embed" in model


def refused_by_bedrock(model: str, body: Json) -> str:
    """Why Bedrock answers with a ValidationException; "" if it does not."""
    if "titan-embed" in model:
        return _refused_by_titan(model, body)
    known = {"texts", "input_type", "truncate", "embedding_types"}
    if "embed-v4" in model:
        known |= {"output_dimension", "max_tokens"}
    if body.keys() - known or not 1 <= len(body.get("texts", ())) <= 96:
        return "Malformed input request: #: extraneous key is not permitted, please reformat your input."
    if body.get("input_type") not in ("search_document", "search_query", "classification", "clustering"):
        return "Malformed input request: input_type is required."
    if body.get("output_dimension", 256) not in (256, 512, 1024, 1536):
        return "Malformed input request: output_dimension."
    return next(filter(None, map(_refused_text, body["texts"])), "")


def _refused_by_titan(model: str, body: Json) -> str:
    known = {"inputText", "dimensions", "normalize"} if "v2" in model else {"inputText"}
    if body.keys() - known or body.get("dimensions", 256) not in (256, 512, 1024):
        return "Malformed input request: extraneous key is not permitted, please reformat your input."
    return _refused_text(body.get("inputText"))


def bedrock_answer(model: str, body: Json) -> tuple[Json, dict[str, str]]:
    """As Bedrock answers, and the headers of it."""
    if "titan-embed" in model:
        text = body["inputText"]
        values = vector(text, body.get("dimensions") or (1024 if "v2" in model else 1536))
        return {"embedding": values, "inputTextTokenCount": tokens(text)}, {}
    size = body.get("output_dimension") or (1536 if "embed-v4" in model else 1024)
    values_of = [vector(text, size) for text in body["texts"]]
    by_type = body.get("embedding_types") == ["float"]
    answer = {
        "id": "1",
        "texts": body["texts"],
        "response_type": "embeddings_by_type" if by_type else "embeddings_floats",
        "embeddings": {"float": values_of} if by_type else values_of,
    }
    counted = not any(UNCOUNTED in text for text in body["texts"])
    count = str(sum(map(tokens, body["texts"])))
    return answer, {"X-Amzn-Bedrock-Input-Token-Count": count} if counted else {}


WORDS = ("", "a", "sea", "日本", "\\", '"', "\x00", "x" * 300)
ODD = (None, True, -5, 0, 1.5, "x", [], {}, [[]], [None], {"a": [1]}, [1, "a"], 10**30)
LIKELY: dict[str, tuple[Any, ...]] = {
    "dimensions": (None, 1, 128, 256, 512, 1_024, 1_536, 3_072, 4_096),
    "encoding_format": (None, "float", "base64", "int8"),
    "user": (None, "u"),
    "input_type": (None, "search_query", "x"),
    "task_type": (None, "CLUSTERING", "x"),
    "stream": (None, False, True),
    "usage": (None, {"include": True}, {"include": 7}),
    "pad": (None, 1),
}


def any_input(rng: random.Random) -> Any:
    """A text, some texts, token ids, arrays of them, or what is none of these."""
    some = range(rng.randint(1, 3))
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: rng.choice(WORDS),
        lambda: [rng.choice(WORDS) for _ in some],
        lambda: [rng.choice(WORDS[1:]) for _ in some],
        lambda: [rng.randint(0, 9) for _ in some],
        lambda: [[rng.randint(0, 9)] for _ in some],
        lambda: rng.choice(ODD),
    )
    return rng.choice(kinds)()


def any_body(rng: random.Random) -> dict[str, Any]:
    """An input, and up to three other fields, now and then of a wrong type."""
    body = {"input": any_input(rng)}
    for name in rng.sample(tuple(LIKELY), rng.randint(0, 3)):
        body[name] = rng.choice(ODD if rng.random() < 0.1 else LIKELY[name])
    return body
