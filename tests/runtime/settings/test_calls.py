"""How long calls may take, and what of them is kept: what a file says, what follows from it, and what is refused."""

from pathlib import Path

import pytest

from runtime.settings.settings import CallSettings, Settings, SettingsError, decode, encode, load


def read(tmp_path: Path, text: str) -> Settings:
    """The settings of a file."""
    path = tmp_path / "tokn.toml"
    path.write_text(text)
    settings = load(path, credentials=False, environment={})
    assert decode(encode(settings)) == settings
    return settings


def calls(tmp_path: Path, text: str) -> CallSettings:
    """The figures of a file."""
    return read(tmp_path, text).calls


@pytest.mark.parametrize(
    ("text", "idle_s", "total_s", "grace_s"),
    [
        ("", 600, 7_200, 7_200),
        ("[calls]\nidle_s = 1_200\n", 1_200, 7_200, 7_200),
        ("[calls]\ntotal_s = 14_400\n", 600, 14_400, 14_400),
        ("[calls]\ntotal_s = 90.5\n", 90.5, 90.5, 90.5),
        ("[calls]\nidle_s = 5\ntotal_s = 5\n", 5, 5, 5),
        ("[edge]\ngrace_s = 25\n", 600, 7_200, 25),
        ("[edge]\ngrace_s = 0\n[calls]\ntotal_s = 86_400\n", 600, 86_400, 0),
    ],
)
def test_what_is_left_out_follows(tmp_path, text, idle_s, total_s, grace_s):
    """A stream has 10 minutes, a call 2 hours, a stop as long as a call; the shorter total bounds the silence too."""
    assert calls(tmp_path, text) == CallSettings(idle_s=idle_s, total_s=total_s, grace_s=grace_s)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[calls]\nidle_s = 0\n", ["[calls] idle_s", "from 1 to 86400"]),
        ("[calls]\nidle_s = -5\n", ["[calls] idle_s", "from 1 to 86400"]),
        ("[calls]\ntotal_s = 0.5\n", ["[calls] total_s", "from 1 to 86400"]),
        ("[calls]\ntotal_s = 86_401\n", ["[calls] total_s", "from 1 to 86400"]),
        ("[calls]\ntotal_s = inf\n", ["[calls] total_s", "from 1 to 86400"]),
        ("[calls]\ntotal_s = nan\n", ["[calls] total_s", "from 1 to 86400"]),
        ("[calls]\ntotal_s = '2h'\n", ["[calls] total_s", "must be a number"]),
        ("[calls]\nidle_s = true\n", ["[calls] idle_s", "must be a number"]),
        ("[calls]\nidle_s = 601\ntotal_s = 600\n", ["[calls] idle_s", "at most total_s, which is 600"]),
        ("[calls]\nidle_s = 7_201\n", ["[calls] idle_s", "at most total_s, which is 7200"]),
        ("[calls]\ncall_s = 600\n", ["[calls] call_s", "unknown key"]),
        ("calls = 3\n", ["calls", "must be a table"]),
        ("[edge]\ngrace_s = -1\n", ["[edge] grace_s", "from 0 to 86400"]),
        ("[edge]\ngrace_s = 90_000\n", ["[edge] grace_s", "from 0 to 86400"]),
    ],
)
def test_bad_figures_are_one_line_that_says_where(tmp_path, text, words):
    """Each wrong figure is one line with file, table, key and what would be right."""
    with pytest.raises(SettingsError) as caught:
        calls(tmp_path, text)
    line = str(caught.value)
    assert "\n" not in line
    for word in [str(tmp_path / "tokn.toml"), *words]:
        assert word in line, line


def test_an_edge_keeps_items_unless_it_is_told_not_to(tmp_path: Path) -> None:
    """`[edge] keep_items` is true where it is left out, and nothing but a boolean."""
    assert read(tmp_path, "").keep_items is True
    assert read(tmp_path, "[edge]\nkeep_items = false\n").keep_items is False
    with pytest.raises(SettingsError, match="keep_items"):
        read(tmp_path, "[edge]\nkeep_items = 0\n")
