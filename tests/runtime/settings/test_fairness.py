"""How keys share a pool, as its file says it."""

from pathlib import Path

import pytest

from runtime.settings.fairness import FAIR, Fairness
from runtime.settings.settings import SettingsError, decode, encode, load


def shares(tmp_path: Path, text: str) -> Fairness:
    """What a pool with these lines has, also as a child process reads it."""
    path = tmp_path / "tokn.toml"
    path.write_text(f'[pools.p]\nprovider = "sandbox"\n{text}')
    settings = load(path, credentials=False, environment={})
    assert decode(encode(settings)).pools[0].fairness == settings.pools[0].fairness
    return settings.pools[0].fairness


def test_the_shares_are_the_operators(tmp_path: Path) -> None:
    """What a pool leaves out is as everywhere; what it says holds for it, 0 and 1 included."""
    assert shares(tmp_path, "") == FAIR == Fairness(crowded=0.5, of_free=0.25, kept=0.1)
    assert shares(tmp_path, "[pools.p.fairness]\nkept = 0\n") == Fairness(kept=0.0)
    told = "[pools.p.fairness]\ncrowded = 1\nof_free = 0.5\nkept = 0.05\n"
    assert shares(tmp_path, told) == Fairness(crowded=1.0, of_free=0.5, kept=0.05)


@pytest.mark.parametrize("line", ["kept = 1.5", "crowded = -1", 'of_free = "a"', "weight = 2"])
def test_nonsense_is_refused(tmp_path: Path, line: str) -> None:
    """What is no share, and what nobody knows, is refused with its place."""
    with pytest.raises(SettingsError, match=line.split(" ", maxsplit=1)[0]):
        shares(tmp_path, f"[pools.p.fairness]\n{line}\n")
