"""Owns the OpenAPI document against the gateway: what it says that a route takes is asked, and every answer fits what it says."""

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from edge.site.declared.operations import OPERATIONS
from tests.fakes.tokn import Tokn

pytestmark = pytest.mark.system

SANDBOX = '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\nwords_per_s = 0\n'
EXAMPLES, EXAMPLES_LONG = 3, 300


@pytest.fixture(scope="module")
def tokn(tmp_path_factory):
    """A gateway with the sandbox."""
    with Tokn(tmp_path_factory.mktemp("documented") / "data", SANDBOX) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def document(tokn):
    """The document as it is served."""
    import schemathesis  # noqa: PLC0415  only who runs this pays for it

    return schemathesis.openapi.from_dict(httpx.get(f"{tokn.url}/openapi.json").json())


def asked(tokn, document, one, examples):
    """Asks one operation whatever fits its document."""
    from schemathesis.checks import not_a_server_error  # noqa: PLC0415  only who runs this pays for it
    from schemathesis.specs.openapi import checks  # noqa: PLC0415  only who runs this pays for it

    wanted = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    operation = document[one.path][one.method.upper()]

    @seed(20_261_126)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case):
        if one.body is not None and isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "tokn-sandbox"  # else each is a 404
        headers = {"authorization": f"Bearer {tokn.key}"} if one.keyed else {}
        answer = case.call(base_url=tokn.url, headers=headers, timeout=60)
        case.validate_response(answer, checks=wanted)

    ask()


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.id)
def test_answers_are_as_documented(tokn, document, one):
    """No answer is a 5xx, each has a status, a type and a form that the document names for its route."""
    asked(tokn, document, one, EXAMPLES)


def test_an_answer_that_does_not_fit_is_found(tokn):
    """The comparison has teeth: a document that promises another field is contradicted."""
    import schemathesis  # noqa: PLC0415  only who runs this pays for it
    from schemathesis.core.failures import FailureGroup  # noqa: PLC0415  only who runs this pays for it

    told = httpx.get(f"{tokn.url}/openapi.json").json()
    told["components"]["schemas"]["CreditsData"]["required"].append("promised")
    (one,) = (one for one in OPERATIONS if one.id == "getCredits")
    with pytest.raises(FailureGroup, match="promised"):
        asked(tokn, schemathesis.openapi.from_dict(told), one, 1)


@pytest.mark.long
@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.id)
def test_many_answers_are_as_documented(tokn, document, one):
    """The same of many more."""
    asked(tokn, document, one, EXAMPLES_LONG)


@pytest.mark.parametrize("one", [one for one in OPERATIONS if one.example], ids=lambda one: one.id)
def test_examples_are_served(tokn, one):
    """The example of a body is a call that succeeds, and so is each request by curl."""
    answer = httpx.post(
        tokn.url + one.path, json=one.example, headers={"authorization": f"Bearer {tokn.key}"}
    )
    assert answer.status_code == 200, answer.text
