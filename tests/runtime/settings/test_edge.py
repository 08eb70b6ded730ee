"""What `[edge]` says of answers."""

import pytest

from runtime.settings.settings import Settings, SettingsError, load


def read(tmp_path, text: str) -> Settings:
    path = tmp_path / "tokn.toml"
    path.write_text(text)
    return load(path, credentials=False, environment={})


def test_cost_is_told_to_who_asks_unless_the_operator_says_more(tmp_path):
    """`[edge] usage_cost` is off by default, and nothing but a boolean."""
    assert read(tmp_path, "").usage_cost is False
    assert read(tmp_path, "[edge]\nusage_cost = true\n").usage_cost is True
    for value in ("1", '"yes"'):
        with pytest.raises(SettingsError, match="usage_cost"):
            read(tmp_path, f"[edge]\nusage_cost = {value}\n")
