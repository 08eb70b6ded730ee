"""The file of rows as services read it: one preset at a time, quickly, and never half."""

import time
from datetime import timedelta
from pathlib import Path

import pytest

from runtime.catalogue.age import age_days, as_of, is_old
from runtime.catalogue.models import FILE, read_rows, rows
from runtime.toml import SettingsError
from schemas.catalogue.builtin import BUILTIN

LOAD_MAX_MS = 15.0  # 2 ms are usual; a busy machine may take its time


@pytest.mark.parametrize("preset", ["openai", "anthropic", "gemini", "bedrock"])
def test_a_worker_reads_its_presets_in_no_time(preset: str) -> None:
    """The best of ten reads of one preset's rows is far below what a start would notice."""
    best = min(_timed(preset) for _ in range(10))
    assert best < LOAD_MAX_MS / 1000


def _timed(preset: str) -> float:
    began = time.process_time()
    read_rows(FILE, preset)
    return time.process_time() - began


def test_each_row_is_read_with_its_preset_and_no_other() -> None:
    """The presets' rows together are the file's lines."""
    lines = FILE.read_bytes().splitlines()
    names = {line.split(b'"')[3].decode() for line in lines}
    found = {name: read_rows(FILE, name) for name in names}
    assert sum(map(len, found.values())) == len(lines)
    assert all(row.preset == name for name, of_preset in found.items() for row in of_preset.values())
    assert rows("nobody") == {}
    assert rows("open") == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is cut short"),
        (b'{"preset":"p","id":"m"', "is cut short"),
        (b'{"preset":"p","id":"m"}\n', "line 1: .*missing required field"),
        (b'{"preset":"o","id":"m"}\n{"preset":"p",\n', "line 2"),
        (b'{"preset":"p","id":"\xff"}\n', "line 1"),
        (
            b'{"preset":"p","id":"m","mode":["chat"],"context":1,"prices":[],"price":1}\n',
            "line 1: .*unknown field",
        ),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    """It names the file, the line and the remedy."""
    path = tmp_path / "models.json"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"models.json: {words}") as refused:
        read_rows(path, "p")
    assert "make catalogue" in str(refused.value)
    assert "\n" not in str(refused.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_rows(tmp_path / "nowhere", "p")


def test_the_rows_say_how_old_they_are(tmp_path: Path) -> None:
    """In whole days, by the day that is asked for; a damaged file is one line that names file and remedy."""
    assert [age_days(as_of() + timedelta(days=days)) for days in (-1, 0, 44, 45)] == [0, 0, 44, 45]
    assert [is_old(days) for days in (0, 44, 45, 400)] == [False, False, True, True]
    path = tmp_path / "as_of.txt"
    for content in (None, "", "2026-13-01", "yesterday"):
        if content is not None:
            path.write_text(content)
        with pytest.raises(SettingsError, match=r"as_of\.txt: cannot be read: .*make catalogue"):
            as_of(path)


def test_a_built_in_model_knows_every_service_tier_that_its_row_prices() -> None:
    """Whichever name an id is called by, a service tier that OpenAI lists for it has the same price."""
    for model in BUILTIN:
        row = rows(model.provider).get(model.upstream) if model.family == "openai" else None
        for price in row.priced() if row is not None else ():
            assert model.prices[0].services == price.services
