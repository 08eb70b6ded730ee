"""The document says what the API does: every route, every answer, and no request that it allows breaks anything."""

import asyncio
from collections import Counter
from typing import Any

import hypothesis
import pytest
import requests
from hypothesis import HealthCheck, Phase

from console.api import openapi
from console.api.routes import PREFIX, ROUTES
from schemas.admin.authority import SCOPES
from tests.console.api.rig import Rig, populated
from tests.console.api.test_rights import OF, name_of

EXAMPLES = 6  # of each route; the long run takes LONG
LONG = 40


def test_the_document_is_one():
    """It is OpenAPI 3.1, and has no schema that nothing names."""
    from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: PLC0415  only who runs this pays for it

    document = openapi.described()
    assert document["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_route_is_described():
    """Each route has its operation with a schema of its body, its parameters and its answer, and a name of its own."""
    document = openapi.described()
    described = {
        f"{method.upper()} {path.removeprefix(PREFIX)}": operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert list(described) == sorted(described, key=list(described).index)
    assert set(described) == {name_of(route) for route in ROUTES}
    for route in ROUTES:
        operation = described[name_of(route)]
        content = operation["responses"][str(route.status)]["content"]
        assert set(content) == {*route.kinds, *(["application/json"] if route.answer is not None else [])}
        assert content
        if route.answer is not None:
            answer = content["application/json"]["schema"]
            assert answer["$ref"].rpartition("/")[2] in document["components"]["schemas"]
        assert ("requestBody" in operation) == (route.body is not None)
        assert route.scope in operation["description"]
        named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert all(f"{{{name}}}" in route.path for name in named)
        assert ("Idempotency-Key" in {one["name"] for one in operation["parameters"]}) == route.writes
    names = Counter(operation["operationId"] for operation in described.values())
    assert set(names.values()) == {1}


def test_scopes_are_those_that_there_are():
    """Each route needs a scope that there is, and only `/me` needs none."""
    assert {route.scope for route in ROUTES} <= {*SCOPES, ""}
    assert [route.path for route in ROUTES if not route.scope] == ["/me"]


async def test_the_document_is_served(rig: Rig):
    """Anybody may read it: it has nothing that is not in the repository."""
    answer = await rig.ask("GET", "/openapi.json")
    assert (answer.status_code, answer.json()) == (200, openapi.described())


def _document() -> Any:
    import schemathesis  # noqa: PLC0415  only who runs this pays for it

    return schemathesis.openapi.from_dict(openapi.described())


def _run(url: str, key: str, examples: int) -> Counter[int]:
    """Asks every route as the document allows. Returns how many answers of each status there were."""
    from schemathesis.checks import not_a_server_error  # noqa: PLC0415  only who runs this pays for it
    from schemathesis.specs.openapi import checks  # noqa: PLC0415  only who runs this pays for it

    asked = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
    ]
    schema = _document()
    schema.config.update(base_url=url)
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            case.headers = {**dict(case.headers or {}), "authorization": f"Bearer {key}"}
            statuses[case.call_and_validate(checks=asked).status_code] += 1

        ask()
    return statuses


async def _fuzz(rig: Rig, examples: int) -> None:
    owner = await rig.key()
    await populated(rig, "acme", owner)
    statuses = await asyncio.to_thread(_run, rig.url, owner, examples)
    assert statuses.total() >= len(ROUTES)
    assert {200, 201, 400, 404} <= set(statuses), statuses
    assert (await rig.deployment.audit())["ok"]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_whatever_the_document_allows(rig: Rig):
    """No request makes a 5xx, and every answer is one that the document has, in its form."""
    await _fuzz(rig, EXAMPLES)


@pytest.mark.long
async def test_whatever_the_document_allows_at_length(rig: Rig):
    """The same with many more requests, on both databases."""
    await _fuzz(rig, LONG)


async def test_every_answer_fits(rig: Rig):
    """Asked about things that are there, each route answers in the document's form: fuzzing alone meets hardly one."""
    owner = await rig.key()
    acme = await populated(rig, "acme", owner)
    schema = _document()
    for route in ROUTES:
        path, body = OF[name_of(route)](acme)
        answer = await rig.ask(route.method, path, body, key=owner)
        assert answer.status_code == route.status, (name_of(route), answer.text)
        schema[PREFIX + route.path][route.method].validate_response(_response(answer))


def _response(answer: Any) -> Any:
    import schemathesis  # noqa: PLC0415  only who runs this pays for it

    return schemathesis.Response(
        status_code=answer.status_code,
        headers={name: [value] for name, value in answer.headers.items()},
        content=answer.content,
        request=_prepared(answer),
        elapsed=answer.elapsed.total_seconds(),
        verify=False,
        http_version="1.1",
    )


def _prepared(answer: Any) -> Any:
    request = answer.request
    return requests.Request(request.method, str(request.url), headers=dict(request.headers)).prepare()
