"""How an edge treats connections: what a file says, what is left out, and what is refused."""

import pytest

from runtime.settings.edge import PROXIES_MAX, ConnectionSettings, read_connections
from runtime.settings.settings import SettingsError, decode, encode, load
from runtime.toml import Table


def test_a_file_says_how_connections_are_treated(tmp_path):
    """Each figure is what the file says, and reaches a child unchanged."""
    path = tmp_path / "tokn.toml"
    path.write_text(
        '[edge]\ndrain_s = 2.5\nkeep_alive_s = 620\ntrusted_proxies = ["10.0.0.0/8", "2001:db8::1"]\n'
    )
    settings = load(path, credentials=False, environment={})
    assert settings.connections == ConnectionSettings(
        drain_s=2.5, keep_alive_s=620.0, trusted_proxies=("10.0.0.0/8", "2001:db8::1")
    )
    assert decode(encode(settings)) == settings


def test_nothing_is_trusted_unless_it_is_named():
    """Without a word of it an edge drains for no time, keeps idle connections 75 s, and trusts no proxy."""
    assert read_connections(Table("tokn.toml", "edge", {})) == ConnectionSettings(
        drain_s=0.0, keep_alive_s=75.0, trusted_proxies=()
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("drain_s", -1),
        ("drain_s", 601),
        ("drain_s", "5"),
        ("keep_alive_s", 0),
        ("keep_alive_s", 3_601),
        ("trusted_proxies", "10.0.0.0/8"),
        ("trusted_proxies", ["10.0.0.1/8"]),
        ("trusted_proxies", ["proxy.example"]),
        ("trusted_proxies", ["*"]),
        ("trusted_proxies", ["10.0.0.1"] * (PROXIES_MAX + 1)),
    ],
)
def test_what_cannot_be_meant_is_refused(key, value):
    """A figure out of its range, or a network that is none, is named at the start."""
    with pytest.raises(SettingsError, match=key):
        read_connections(Table("tokn.toml", "edge", {key: value}))
