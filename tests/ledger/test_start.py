"""What a ledger loads and says when it starts."""

import subprocess
import sys

from structlog.testing import capture_logs

from ledger.app import _say_guesses
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
