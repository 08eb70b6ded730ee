"""Owns values that fit a published schema: for each field of a request something that its vendor would take."""

from random import Random
from typing import Any

from tests.fakes.published.schemas import document

DEPTH_MAX = 6  # below it only what is required
_TEXTS = ("hi", "a", "get_weather", "gpt-x", "日本語 🏔", "tail ", '{"a":1}', "https://example.com/a.png")
_WORD = "call_1"  # fits the patterns of names and ids


class Values:
    """Makes values of one vendor's schemas, by chance."""

    def __init__(self, vendor: str, random: Random) -> None:
        self._schemas = document(vendor)["schemas"]
        self._random = random

    def _named(self, schema: dict[str, Any]) -> Any:
        return self._schemas[schema["$ref"].removeprefix("#/$defs/")]

    def of(self, schema: Any, depth: int = 0) -> Any:
        """A value that fits a schema."""
        random = self._random
        if not isinstance(schema, dict):
            return "anything"
        if "$ref" in schema:
            return self.of(self._named(schema), depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return random.choice(schema["enum"])
        either = schema.get("anyOf", ())
        if either and "properties" not in schema and "allOf" not in schema:
            nulls = [one for one in either if one == {"type": "null"}]
            return self.of(nulls[0] if nulls and depth > DEPTH_MAX else random.choice(either), depth)
        if "allOf" in schema or "properties" in schema:
            return self._object(schema, depth)
        return self._plain(schema, depth)

    def _object(self, schema: dict[str, Any], depth: int) -> Any:
        made: dict[str, Any] = {}
        for inner in schema.get("allOf", ()):
            part = self.of(inner, depth)
            if not isinstance(part, dict):
                return part
            made |= part
        needed = schema.get("required", ())
        for name, inner in schema.get("properties", {}).items():
            if name in needed or (depth < DEPTH_MAX and self._random.random() < 0.25):
                made[name] = self.of(inner, depth + 1)
        if either := schema.get("anyOf"):
            part = self.of(self._random.choice(either), depth)
            made |= part if isinstance(part, dict) else {}
        return made

    def _plain(self, schema: dict[str, Any], depth: int) -> Any:
        random = self._random
        kinds = schema.get("type", "string")
        kind = random.choice(kinds) if isinstance(kinds, list) else kinds
        if kind == "array":
            least = schema.get("minItems", 0)
            count = least + (random.randint(0, 2) if depth < DEPTH_MAX else 0)
            count = min(count, schema.get("maxItems", count))
            return [self.of(schema.get("items", True), depth + 1) for _ in range(count)]
        if kind == "object":
            inner = schema.get("additionalProperties")
            values = {"k": self.of(inner, depth + 1)} if isinstance(inner, dict) else {}
            return values if random.random() < 0.7 else {}
        if kind in ("integer", "number"):
            return self._number(schema, kind)
        if kind == "boolean":
            return random.choice((True, False))
        return None if kind == "null" else self._text(schema)

    def _number(self, schema: dict[str, Any], kind: str) -> float:
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        high = schema.get("maximum", low + 5_000)
        found = self._random.choice((low, high, min(low + 1, high), min(low + 1_100, high)))
        return int(found) if kind == "integer" else found

    def _text(self, schema: dict[str, Any]) -> str:
        text = _WORD if "pattern" in schema else self._random.choice(_TEXTS)
        text += "x" * (schema.get("minLength", 0) - len(text))
        return text[: schema.get("maxLength", len(text))]
