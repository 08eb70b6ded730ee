"""Values for schemas: what pydantic's own schemas ask for, pydantic takes; and no schema makes the sandbox fail."""

import datetime as dt
import ipaddress
import json
import uuid
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from workers.providers.sandbox.samples import DEPTH_MAX, sample


class Unit(StrEnum):
    """Degrees."""

    C = "celsius"
    F = "fahrenheit"


class Weather(BaseModel):
    """The arguments of every quickstart's first tool."""

    model_config = ConfigDict(extra="forbid")

    city: str = Field(min_length=2, max_length=5)
    unit: Unit
    days: int = Field(ge=3, lt=8)
    near: tuple[float, float]
    tags: set[str] = Field(min_length=2, max_length=3)
    note: str | None = None


class Node(BaseModel):
    """A type that holds itself."""

    value: int
    children: list["Node"]
    left: Optional["Node"] = None


class Shape(BaseModel):
    """One of several, told apart by its kind."""

    kind: Literal["circle"]
    radius: Annotated[float, Field(gt=0, le=0.25)]


class Form(BaseModel):
    """What else types ask for."""

    when: dt.datetime
    day: dt.date
    id: uuid.UUID
    address: ipaddress.IPv4Address
    price: Decimal = Field(ge=Decimal("10.5"))
    even: int = Field(multiple_of=7, gt=14, lt=30)
    below: int = Field(lt=-5)
    code: str = Field(pattern=r"^[A-Z]{3}-\d{4}(x|y)$")
    slug: str = Field(pattern=r"^[^/\s]+\.(json|xml)$")
    shapes: list[Shape | Weather] = Field(min_length=3)
    lookup: dict[str, int]
    flag: bool
    nothing: None


@pytest.mark.parametrize("model", [Weather, Node, Shape, Form])
def test_what_a_type_asks_for_it_takes(model: type[BaseModel]) -> None:
    """The value for a type's schema is a value of that type, by the type's own rules."""
    value = sample(model.model_json_schema())
    model.model_validate_json(json.dumps(value))


@pytest.mark.parametrize(
    "annotation", [list[int], dict[str, Weather], int | None, Literal["b", "a"], list[Unit] | int, bool]
)
def test_what_an_annotation_asks_for_it_takes(annotation: Any) -> None:
    """So is one for a schema that is no object."""
    adapter = TypeAdapter(annotation)
    adapter.validate_json(json.dumps(sample(adapter.json_schema())))


def test_what_is_optional_is_filled_in() -> None:
    """A form shows all that it has, and a choice with null is the other one."""
    assert sample(Weather.model_json_schema())["note"] == "sandbox"
    assert sample({"type": ["null", "integer"]}) == 1


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        [],
        {"type": "object", "properties": []},
        {"type": "array", "items": True, "minItems": 10**12},
        {"type": "string", "minLength": 10**12},
        {"type": "string", "pattern": "(" * 500},
        {"type": "string", "pattern": "(a{60}){60}"},
        {"$ref": "#"},
        {"$ref": "#/nowhere/at/all"},
        {"allOf": [{"$ref": "#"}]},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"enum": []},
        {"type": "number", "minimum": 5, "maximum": 1},
        {"type": "integer", "multipleOf": 0},
        {"type": "of another day"},
    ],
)
def test_no_schema_makes_it_fail(schema: Any) -> None:
    """What cannot be fitted, or never ends, is a bounded value all the same."""
    assert len(json.dumps(sample(schema))) < 20_000


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "anyOf", "required", "$ref", "minimum", "pattern", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_schema(schema: Any) -> None:
    """Callers write schemas, and theirs may be anything."""
    json.dumps(sample(schema))


def test_depth_is_bounded() -> None:
    """A schema that must hold itself ends at its bound."""
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}
    value, depth = sample(schema), 0
    while value:
        value, depth = value["a"], depth + 1
    assert depth == DEPTH_MAX
