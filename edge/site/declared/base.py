"""Owns what an operation of the API is to its document."""

from typing import Any, Final

from msgspec import Struct

from edge.site.site import ROOT

BASE: Final = f"{ROOT}/v1"
AUTHORIZED: Final = '-H "Authorization: Bearer $TOKN_API_KEY"'


class Parameter(Struct, frozen=True, kw_only=True):
    """One value in a path or a query."""

    name: str
    text: str
    schema: dict[str, Any]
    place: str = "query"
    required: bool = False


class Sample(Struct, frozen=True):
    """A request as one writes it in a language: `curl`, `Python`, `Node`."""

    language: str
    code: str


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path. `id` is its name for generated clients, `errors` the statuses that it may have beside its answer's."""

    method: str
    path: str
    id: str
    tag: str
    summary: str
    text: str = ""
    keyed: bool = True  # it wants a key
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    answer: Any = None
    kind: str = "application/json"  # of its answer
    status: int = 200
    streams: bool = False
    errors: tuple[int, ...] = ()
    envelope: str = "Error"
    samples: tuple[Sample, ...] = ()
    example: dict[str, Any] | None = None  # a body


def called(path: str, *, keyed: bool = True) -> Sample:
    """A GET by curl."""
    url = f'"{ROOT}{path}"' if "?" in path else f"{ROOT}{path}"
    return Sample("curl", f"curl {url}" + (f" \\\n  {AUTHORIZED}" if keyed else ""))
