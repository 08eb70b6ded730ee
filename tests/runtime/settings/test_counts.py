"""Who counts tokens for nothing: what a model's row may say of it."""

import pytest

from runtime.settings.settings import SettingsError
from runtime.settings.sold import sold_by
from tests.runtime.settings.test_hangups import POOL, ROW, TODAY, read


@pytest.mark.parametrize("said", ["", "native", "estimate"])
def test_a_row_says_who_counts(tmp_path, said):
    """The word is kept as it is; without one it is the gateway's estimate."""
    row = f'count = "{said}"\n' if said else ""
    settings = read(tmp_path, POOL.format(pool="") + ROW.format(row=row))
    (made,) = (one for one in settings.pools if one.name == "own")
    assert sold_by(settings, made, TODAY)["m"].count == said


@pytest.mark.parametrize("said", ['"provider"', "true", "3"])
def test_any_other_word_is_refused(tmp_path, said):
    """A typo would be an estimate that nobody meant."""
    with pytest.raises(SettingsError, match="count"):
        read(tmp_path, POOL.format(pool="") + ROW.format(row=f"count = {said}\n"))
