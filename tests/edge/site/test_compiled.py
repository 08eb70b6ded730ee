"""Owns what is compiled ahead: it is what is declared now, it is a valid document, and it has every route of the edge."""

import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hatchling.builders.wheel import WheelBuilder

from edge.admission import listing
from edge.routes import ROUTES, own, site
from edge.site.declared import operations
from edge.site.declared.compile import compiled
from edge.site.declared.document import document
from edge.site.declared.failures import FAILURES
from edge.site.declared.operations import OPERATIONS
from edge.site.site import COMPILED, Site
from web.assets import PREFIX

TOP = Path(__file__).resolve().parents[3]
SERVED = [*ROUTES, *site.rows(Site("", Decimal(1), "http://127.0.0.1"))]


@pytest.fixture(scope="module")
def made():
    """Every file as it would be compiled now."""
    return compiled()


def test_the_files_are_what_is_declared(made):
    """`make pages` has been run: each file is there, byte for byte, and no other one."""
    assert sorted(path.name for path in COMPILED.iterdir()) == sorted(made)
    assert [name for name, text in made.items() if (COMPILED / name).read_bytes() != text] == []


def test_the_wheel_has_the_files():
    """An installed edge finds its pages beside their reader."""
    packed = {file.distribution_path for file in WheelBuilder(str(TOP)).recurse_included_files()}
    assert {f"edge/site/compiled/{path.name}" for path in COMPILED.iterdir()} <= packed


def test_the_document_is_valid():
    """By the specification of OpenAPI 3.1, with the defaults and examples in it."""
    from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: PLC0415  only who runs this pays for it

    OpenAPIV31SpecValidator(msgspec.json.decode(msgspec.json.encode(document()))).validate()


def documented_path(path):
    """A route's path as the document writes it."""
    return f"{PREFIX}{{name}}" if path.startswith(PREFIX) else path.replace(":path}", "}")


def test_every_route_is_documented():
    """Each path of the edge's router with each of its methods, and nothing that it has not."""
    known = {
        (documented_path(row.path), method) for row in SERVED for method in row.methods if method != "HEAD"
    }
    told = {(one.path, one.method.upper()) for one in OPERATIONS}
    assert told - known == {("/v1/responses", "GET")}  # answered beside its methods
    assert known - told == set()


def test_pages_of_lists_have_their_lengths():
    """What the document says of a limit is what the route takes."""
    assert (operations.PAGE, operations.PAGE_MAX) == (own.PAGE, own.PAGE_MAX)
    assert operations.MODELS_PAGE_MAX == listing.PAGE_MAX


def test_operations_have_names_of_their_own():
    """Generated clients and anchors go by the id."""
    names = [one.id for one in OPERATIONS]
    assert len(set(names)) == len(names)


def test_every_error_is_explained():
    """A status that an operation may have says what it means, and its codes are words of the gateway's."""
    assert {status for one in OPERATIONS for status in one.errors} <= set(FAILURES)
    words = "\n".join(
        path.read_text()
        for folder in ("schemas", "edge", "workers")
        for path in (TOP / folder).rglob("*.py")
        if "declared" not in path.parts
    )
    codes = [code for failure in FAILURES.values() for code in failure.codes]
    assert [code for code in codes if f'"{code}"' not in words] == []


def test_every_reference_leads_somewhere(made):
    """Each link within the reference has its anchor, and no anchor is there twice."""
    page = made["docs.html"].decode()
    anchors = re.findall(r'\sid="([^"]+)"', page)
    assert len(set(anchors)) == len(anchors)
    assert [link for link in re.findall(r'href="#([^"]+)"', page) if link not in anchors] == []
    for one in OPERATIONS:
        assert f'id="{one.id}"' in page
