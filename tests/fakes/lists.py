"""Owns the model lists of the fake providers: pages, parameters and refusals as each vendor's own API has them."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from tests.fakes.bedrock_sigv4 import SignatureRefusedError, verify


class Shown(Struct):
    """What a fake lists. None: it has no list at all. `page` is how many it puts on a page, whatever is asked."""

    models: list[dict[str, Any]] | None = None
    profiles: list[dict[str, Any]] = []  # Bedrock's
    page: int = 1_000
    status: int = 200  # of every answer, with `raw` in place of a list
    raw: bytes = b""
    asked: list[str] = []  # the targets of all requests, refused ones too


class Refused(Exception):  # noqa: N818  an answer, not a fault
    """An answer other than 200, with its JSON."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


def openai(*ids: str, **more: dict[str, Any]) -> list[dict[str, Any]]:
    """OpenAI's entries; `more` by id with - for _."""
    plain = {"object": "model", "created": 1_763_769_600, "owned_by": "system", "shutdown_date": None}
    return [{"id": name, **plain, **more.get(name.replace("-", "_"), {})} for name in ids]


def openai_page(shown: Shown, target: str, headers: Mapping[str, str], key: str) -> Any:
    """GET /v1/models of OpenAI: one page, and no parameters but those of other vendors. Raises Refused."""
    shown.asked.append(target)
    if headers.get("authorization") != f"Bearer {key}":
        raise Refused(401, {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}})
    if shown.models is None:
        raise Refused(404, {"error": {"message": f"Invalid URL (GET {target})", "code": None}})
    query = parse_qs(urlsplit(target).query)
    if len(shown.models) <= shown.page and not query:
        return {"object": "list", "data": shown.models}
    after = query.pop("after", [""])[0]
    if query:
        raise Refused(400, {"error": {"message": f"Unknown parameters: {list(query)}"}})
    ids = [one["id"] for one in shown.models]
    start = ids.index(after) + 1 if after else 0
    data = shown.models[start : start + shown.page]
    return {"object": "list", "data": data, "has_more": start + shown.page < len(ids)}


def anthropic(name: str, lifecycle: str = "active", **more: Any) -> dict[str, Any]:
    """One of Anthropic's entries."""
    return {
        "type": "model",
        "id": name,
        "display_name": name.title(),
        "created_at": "2026-01-01T00:00:00Z",
        "deprecated_at": None if lifecycle == "active" else "2026-02-01T00:00:00Z",
        "lifecycle": lifecycle,
        "line": None,
        "max_input_tokens": 1_000_000,
        "max_tokens": 128_000,
        "retires_at": None,
        "capabilities": None,
        **more,
    }


def anthropic_page(shown: Shown, target: str, headers: Mapping[str, str], key: str, version: str) -> Any:
    """GET /v1/models of Anthropic: at most 1,000 a page, 20 unless asked for more, after a cursor. Raises Refused."""
    shown.asked.append(target)
    if headers.get("x-api-key") != key:
        raise Refused(401, _anthropic_error("authentication_error", "invalid x-api-key"))
    if headers.get("anthropic-version") != version:
        raise Refused(400, _anthropic_error("invalid_request_error", "anthropic-version: header is required"))
    if shown.models is None:
        raise Refused(404, _anthropic_error("not_found_error", "Not found"))
    query = parse_qs(urlsplit(target).query, strict_parsing=True)
    limit, after = int(query.pop("limit", ["20"])[0]), query.pop("after_id", [""])[0]
    ids = [one["id"] for one in shown.models]
    if query or not 1 <= limit <= 1_000 or (after and after not in ids):
        raise Refused(400, _anthropic_error("invalid_request_error", f"{target}: not a page"))
    start, size = ids.index(after) + 1 if after else 0, min(limit, shown.page)
    data = shown.models[start : start + size]
    return {
        "data": data,
        "has_more": start + size < len(ids),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _anthropic_error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def gemini(name: str, *, methods: tuple[str, ...] = ("generateContent", "countTokens"), **more: Any) -> Any:
    """One of Gemini's entries."""
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.title(),
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": list(methods),
        "temperature": 1,
        **more,
    }


def gemini_page(shown: Shown, target: str, headers: Mapping[str, str], key: str) -> Any:
    """GET /v1beta/models of Gemini: at most 1,000 a page, 50 unless asked for more, by token. Raises Refused."""
    shown.asked.append(target)
    if headers.get("x-goog-api-key") != key:
        raise Refused(
            400, {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}
        )
    if shown.models is None:
        raise Refused(404, {"error": {"code": 404, "message": "", "status": "NOT_FOUND"}})
    query = parse_qs(urlsplit(target).query, strict_parsing=True)
    size, token = int(query.pop("pageSize", ["50"])[0]), query.pop("pageToken", ["at/0="])[0]
    if query or not token.startswith("at/") or not 1 <= size <= 1_000:
        raise Refused(400, {"error": {"code": 400, "message": target, "status": "INVALID_ARGUMENT"}})
    start, size = int(token[3:-1]), min(size, shown.page)
    page: dict[str, Any] = {"models": shown.models[start : start + size]}
    if start + size < len(shown.models):
        page["nextPageToken"] = f"at/{start + size}="  # as opaque as the real one: it has to be quoted
    return page


def foundation(
    name: str,
    *,
    types: tuple[str, ...] = ("ON_DEMAND",),
    output: tuple[str, ...] = ("TEXT",),
    **lifecycle: str,
) -> dict[str, Any]:
    """One of Bedrock's foundation models."""
    return {
        "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{name}",
        "modelId": name,
        "modelName": name.title(),
        "providerName": name.split(".", maxsplit=1)[0].title(),
        "inputModalities": ["TEXT"],
        "outputModalities": list(output),
        "responseStreamingSupported": True,
        "customizationsSupported": [],
        "inferenceTypesSupported": list(types),
        "modelLifecycle": {"status": "ACTIVE", **lifecycle},
    }


def profile(name: str, *models: str, kind: str = "SYSTEM_DEFINED") -> dict[str, Any]:
    """One of Bedrock's inference profiles."""
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{name}"
    return {
        "inferenceProfileName": name,
        "inferenceProfileArn": arn,
        "inferenceProfileId": name,
        "models": [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{one}"} for one in models],
        "status": "ACTIVE",
        "type": kind,
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
    }


def bedrock_page(
    shown: Shown,
    target: str,
    headers: Mapping[str, str],
    *,
    secrets: Mapping[str, tuple[str, str]],
    bearer: str,
    region: str,
) -> Any:
    """GET of Bedrock's control host: signed, with the parameters' names as they go over the wire. Raises Refused."""
    shown.asked.append(target)
    if headers.get("authorization") != f"Bearer {bearer}":
        try:
            verify(method="GET", raw_path=target, headers=headers, body=b"", secrets=secrets, region=region)
        except SignatureRefusedError as problem:
            raise Refused(403, {"message": problem.message}) from None
    if shown.models is None:
        raise Refused(403, {"message": "not authorized to perform: bedrock:ListFoundationModels"})
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.path == "/foundation-models" and not query:
        return {"modelSummaries": shown.models}
    if parts.path != "/inference-profiles" or not query.keys() <= {"type", "maxResults", "nextToken"}:
        raise Refused(404, {"message": "UnknownOperationException"})
    if not 1 <= int(query.get("maxResults", "100")) <= 1_000:
        raise Refused(400, {"message": "maxResults"})
    found = [one for one in shown.profiles if one["type"] == query.get("type", "SYSTEM_DEFINED")]
    token = query.get("nextToken", "t+0=")
    start, size = int(token[2:-1]), min(int(query.get("maxResults", "100")), shown.page)
    page: dict[str, Any] = {"inferenceProfileSummaries": found[start : start + size]}
    if start + size < len(found):
        page["nextToken"] = f"t+{start + size}="
    return page
