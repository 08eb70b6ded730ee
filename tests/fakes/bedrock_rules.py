"""Owns what the fake Bedrock refuses: botocore's service model to the letter, then the rules that it does not write down."""

import base64
import binascii
import functools
import itertools
import json
import re
from typing import Any

import botocore.session
from botocore.model import Shape
from botocore.validate import ParamValidator

Json = dict[str, Any]


class InvalidError(Exception):
    """A request that Bedrock answers with a ValidationException."""


@functools.cache
def service_model() -> Any:
    """The description that botocore has of bedrock-runtime."""
    return botocore.session.Session().get_service_model("bedrock-runtime")


def check(operation: str, model_id: str, body: Json) -> None:
    """Raises InvalidError for a Converse body that the service model or the rules refuse."""
    check_schema(operation, model_id, body)
    _rules(body, model_id)


def check_schema(operation: str, model_id: str, body: Json) -> None:
    """Raises InvalidError for a Converse body that the service model refuses."""
    shape = service_model().operation_model(operation).input_shape
    params = {"modelId": model_id, **_params(shape, body, "body")}
    report = ParamValidator().validate(params, shape)
    if report.has_errors():
        raise InvalidError(report.generate_report())


def _params(shape: Shape, value: Any, path: str) -> Any:
    """What boto3 would have been given, with every constraint of the model checked, not only botocore's few."""
    kind = shape.type_name
    if getattr(shape, "is_document_type", False):
        return value
    if kind == "structure":
        if not isinstance(value, dict):
            raise InvalidError(f"{path}: an object is expected")
        if unknown := value.keys() - shape.members.keys():
            raise InvalidError(f"{path}: extraneous key {sorted(unknown)} is not permitted")
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            raise InvalidError(f"{path}: exactly one member of the union must be set")
        return {name: _params(shape.members[name], item, f"{path}.{name}") for name, item in value.items()}
    if kind == "list":
        if not isinstance(value, list):
            raise InvalidError(f"{path}: a list is expected")
        _bounds(shape, len(value), path)
        return [_params(shape.member, item, f"{path}.{index}") for index, item in enumerate(value)]
    if kind == "map":
        _bounds(shape, len(value), path)
        return {
            _params(shape.key, key, path): _params(shape.value, item, f"{path}.{key}")
            for key, item in value.items()
        }
    return _scalar(shape, kind, value, path)


def _scalar(shape: Shape, kind: str, value: Any, path: str) -> Any:
    meta = shape.metadata
    if kind == "blob":
        try:
            value = base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise InvalidError(f"{path}: not base64") from None
        _bounds(shape, len(value), path)
    elif kind == "string":
        if not isinstance(value, str):
            raise InvalidError(f"{path}: a text is expected")
        _bounds(shape, len(value), path)
        if "enum" in meta and value not in meta["enum"]:
            raise InvalidError(f"{path}: {value!r} is not one of {meta['enum']}")
        if "pattern" in meta and not re.fullmatch(meta["pattern"], value):
            raise InvalidError(f"{path}: {value!r} does not match {meta['pattern']}")
    elif kind in ("integer", "long", "float", "double"):
        _bounds(shape, value, path)
    return value


def _bounds(shape: Shape, size: float, path: str) -> None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and size < low) or (high is not None and size > high):
        raise InvalidError(f"{path}: {size} is not within {low} and {high}")


_DOCUMENT_NAME = re.compile(r"[A-Za-z0-9()\[\]-]+(?: [A-Za-z0-9()\[\]-]+)*")
IMAGES_MAX, IMAGE_BYTES_MAX = 20, 3_750_000
DOCUMENTS_MAX, DOCUMENT_BYTES_MAX = 5, 4_500_000
CACHE_POINTS_MAX = 4


def _rules(body: Json, model_id: str) -> None:
    turns = body["messages"]
    if not turns or turns[0]["role"] != "user":
        raise InvalidError("A conversation must start with a user message. Try again with one.")
    blocks = [block for turn in turns for block in turn["content"]]
    for before, turn in itertools.pairwise(turns):
        if before["role"] == turn["role"]:
            raise InvalidError("messages: roles must alternate between user and assistant")
    for index, turn in enumerate(turns):
        if not turn["content"]:
            raise InvalidError(f"The content field in the Message object at messages.{index} is empty.")
        _turn(turn, index)
    _tool_pairs(turns)
    if any("toolUse" in block or "toolResult" in block for block in blocks) and "toolConfig" not in body:
        raise InvalidError(
            "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        )
    for block in body.get("system", []):
        if "text" in block and not block["text"].strip():
            raise InvalidError("The text field in a SystemContentBlock is blank.")
    _media(blocks)
    points = json.dumps(body).count('"cachePoint"')
    if points > CACHE_POINTS_MAX or (points and not re.search("claude|nova", model_id)):
        raise InvalidError("cachePoint blocks: at most 4, and only for models that cache.")
    _tools(body, model_id)


def _turn(turn: Json, index: int) -> None:
    for place, block in enumerate(turn["content"]):
        if "text" in block and not block["text"].strip():
            raise InvalidError(
                f"The text field in the ContentBlock object at messages.{index}.content.{place} is blank."
            )
        if ("toolUse" in block or "reasoningContent" in block) and turn["role"] != "assistant":
            raise InvalidError("toolUse blocks stand in assistant messages only.")
        if any(kind in block for kind in ("toolResult", "image", "document")) and turn["role"] != "user":
            raise InvalidError("toolResult, image and document blocks stand in user messages only.")
    results = [("toolResult" in block) for block in turn["content"]]
    if results != sorted(results, reverse=True):
        raise InvalidError("toolResult blocks must come first.")
    has_document = any("document" in block for block in turn["content"])
    if has_document and not any("text" in block for block in turn["content"]):
        raise InvalidError("A text block is required beside a document.")


def _tool_pairs(turns: list[Json]) -> None:
    ids = [block["toolUse"]["toolUseId"] for turn in turns for block in turn["content"] if "toolUse" in block]
    if len(ids) != len(set(ids)):
        raise InvalidError("`tool_use` ids must be unique")
    for index, turn in enumerate(turns):
        used = {block["toolUse"]["toolUseId"] for block in turn["content"] if "toolUse" in block}
        following = turns[index + 1]["content"] if index + 1 < len(turns) else []
        answered = [block["toolResult"]["toolUseId"] for block in following if "toolResult" in block]
        if used and set(answered) != used:
            raise InvalidError(
                f"Expected toolResult blocks at messages.{index + 1}.content for the Ids: {used}"
            )
        if answered and (not used or len(answered) != len(set(answered))):
            raise InvalidError("The number of toolResult blocks exceeds the number of toolUse blocks.")


def _media(blocks: list[Json]) -> None:
    images = [block["image"] for block in blocks if "image" in block]
    documents = [block["document"] for block in blocks if "document" in block]
    if len(images) > IMAGES_MAX or len(documents) > DOCUMENTS_MAX:
        raise InvalidError("Too many images or documents.")
    for item, bound in [(i, IMAGE_BYTES_MAX) for i in images] + [(d, DOCUMENT_BYTES_MAX) for d in documents]:
        if len(base64.b64decode(item["source"]["bytes"])) > bound:
            raise InvalidError("An image or a document is too large.")
    names = [document["name"] for document in documents]
    if len(names) != len(set(names)) or not all(_DOCUMENT_NAME.fullmatch(name) for name in names):
        raise InvalidError(
            "The document file name can only contain alphanumeric characters, single spaces, -()[]."
        )


def _tools(body: Json, model_id: str) -> None:
    config = body.get("toolConfig")
    extra = body.get("additionalModelRequestFields") or {}
    if config is not None:
        names = [entry["toolSpec"]["name"] for entry in config["tools"] if "toolSpec" in entry]
        if len(names) != len(set(names)):
            raise InvalidError("Two tools have the same name.")
        for entry in config["tools"]:
            if "toolSpec" in entry and entry["toolSpec"]["inputSchema"]["json"].get("type") != "object":
                raise InvalidError("toolConfig: input_schema.type: Input should be 'object'")
        chosen = config.get("toolChoice", {}).get("tool", {}).get("name")
        if chosen is not None and chosen not in names:
            raise InvalidError("toolChoice names a tool that is not in tools.")
    serial = extra.get("tool_choice")
    if serial is not None:
        if "claude" not in model_id:
            raise InvalidError("extraneous key [tool_choice] is not permitted")
        if config is None or (("type" in serial) == ("toolChoice" in config)):
            raise InvalidError(
                "additionalModelRequestFields.tool_choice conflicts with toolConfig.toolChoice"
            )
    thinking = extra.get("thinking") or {}
    if thinking.get("type") == "enabled":
        limit = body.get("inferenceConfig", {}).get("maxTokens", 0)
        if not 1024 <= thinking["budget_tokens"] < limit:
            raise InvalidError("thinking.budget_tokens must be at least 1024 and less than max_tokens")


def check_titan(model_id: str, body: Json) -> None:
    """Raises InvalidError for an InvokeModel body that a Titan text model refuses."""
    highest = next(
        (
            limit
            for name, limit in {"lite": 4096, "express": 8192, "premier": 3072}.items()
            if name in model_id
        ),
        0,
    )
    if body.keys() - {"inputText", "textGenerationConfig"} or not isinstance(body.get("inputText"), str):
        raise InvalidError("Malformed input request: extraneous key is not permitted, please reformat.")
    config = body.get("textGenerationConfig", {})
    if config.keys() - {"maxTokenCount", "temperature", "topP", "stopSequences"} or not body["inputText"]:
        raise InvalidError("Malformed input request: extraneous key is not permitted, please reformat.")
    if not 0 < config.get("maxTokenCount", 512) <= highest:
        raise InvalidError(f"Malformed input request: maxTokenCount is not less or equal to {highest}.")
    if not 0 <= config.get("temperature", 0.7) <= 1 or not 0 <= config.get("topP", 0.9) <= 1:
        raise InvalidError("Malformed input request: temperature and topP lie between 0 and 1.")
    for stop in config.get("stopSequences", []):
        if not re.fullmatch(r"\|+|User:", stop):
            raise InvalidError(
                f"Malformed input request: string [{stop}] does not match pattern ^(\\|+|User:)$"
            )
