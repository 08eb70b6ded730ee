"""Owns the indexes of cases: docs/provider-cases.md and docs/dialect-cases.md name tests, and each of them is there."""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INDEX = ROOT / "docs" / "provider-cases.md"
DIALECTS = ROOT / "docs" / "dialect-cases.md"
DIALECT_ROW = re.compile(r"^\| (.+) \| .+ \| `(.+)::(.+)` \|$", re.MULTILINE)
ROW = re.compile(r"^\| (\d+) \| .+ \| `(.+)::(.+)` \|$", re.MULTILINE)


@functools.cache
def defined(path: Path) -> set[str]:
    """The names of the functions of a module."""
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_case_has_a_test_that_exists():
    """Cases 1 to 50 have a line each, and the test in it can be found."""
    rows = ROW.findall(INDEX.read_text())
    assert [int(number) for number, _, _ in rows] == list(range(1, 51))
    missing = [f"{path}::{name}" for _, path, name in rows if name not in defined(ROOT / "tests" / path)]
    assert missing == []


def test_every_mistake_of_a_dialect_has_a_test_that_exists():
    """Each of the 59 has a line of its own, and the test in it can be found."""
    rows = DIALECT_ROW.findall(DIALECTS.read_text())
    assert len({mistake for mistake, _, _ in rows}) == len(rows) == 59
    missing = [f"{path}::{name}" for _, path, name in rows if name not in defined(ROOT / "tests" / path)]
    assert missing == []
