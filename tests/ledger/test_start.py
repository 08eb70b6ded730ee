"""What a ledger says when it starts."""

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
