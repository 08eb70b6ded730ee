"""No type is listed that nothing makes, or that no test has seen."""

from pathlib import Path

from schemas.events import EVENTS

ROOT = Path(__file__).resolve().parents[3]


def _texts(folder: str) -> str:
    here = Path(__file__)
    return "".join(path.read_text() for path in sorted((ROOT / folder).rglob("*.py")) if path != here)


def test_every_type_is_made_and_tested() -> None:
    """Each type's name stands in the ledger, which alone makes events, and in a test of it."""
    made, tested = _texts("ledger"), _texts("tests/ledger") + _texts("tests/console") + _texts("tests/system")
    assert [one.name for one in EVENTS if f'"{one.name}"' not in made] == []
    assert [one.name for one in EVENTS if f'"{one.name}"' not in tested] == []
