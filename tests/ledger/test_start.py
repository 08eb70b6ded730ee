"""What a ledger loads and says when it starts."""

import subprocess
import sys
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from ledger.app import _say_age, _say_guesses
from runtime.catalogue.age import AGE_WARN_DAYS, as_of
from runtime.settings.pools import PoolSettings
from runtime.settings.settings import Settings


def test_the_start_names_each_model_whose_pictures_nobody_bounded():
    """One warning a row: which model, how much each picture holds, and the key to set."""
    with capture_logs() as lines:
        _say_guesses(Settings(guessed_pictures=("llama", "pixtral"), source="tokn.toml"))
    assert [line["model"] for line in lines] == ["llama", "pixtral"]
    for line in lines:
        assert line["log_level"] == "warning"
        assert line["image_tokens_max"] == 48_600
        assert line["set"] == "[models.capabilities] image_tokens_max"
        assert line["file"] == "tokn.toml"


@pytest.mark.parametrize(
    ("days", "lines"), [(-3, 0), (0, 0), (AGE_WARN_DAYS - 1, 0), (AGE_WARN_DAYS, 1), (400, 1)]
)
def test_the_start_says_that_prices_are_old(days, lines):
    """One warning from a named age on, by the day that it is given, and none where no built-in row is sold."""
    today = as_of() + timedelta(days=days)
    with capture_logs() as said:
        openai, sandbox = (PoolSettings(name="main", provider=name) for name in ("openai", "sandbox"))
        _say_age(Settings(builtin_rows=True, pools=(sandbox, openai)), today)
        _say_age(Settings(builtin_rows=True, pools=(sandbox,)), today)
        _say_age(Settings(builtin_rows=False, pools=(openai,)), today)
    assert [(line["log_level"], line["days"], line["as_of"]) for line in said] == [
        ("warning", days, as_of().isoformat())
    ] * lines


def test_a_ledger_never_loads_sqlmodel():
    """What a ledger runs loads neither SQLModel nor SQLAlchemy: they take longer than all the rest of its start."""
    code = (
        "import sys, ledger.app, ledger.store.sqlite, ledger.store.postgres; "
        "print(sorted({'sqlalchemy', 'sqlmodel'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
