"""What a file says of the console: where it listens, under which address people reach it, whom it believes."""

from pathlib import Path

import pytest

from runtime.settings.console import ConsoleSettings
from runtime.settings.settings import SettingsError, load
from tokn.link import console_line, link


def read(tmp_path: Path, text: str) -> ConsoleSettings:
    """The settings of a file's table."""
    path = tmp_path / "tokn.toml"
    path.write_text(f"[console]\n{text}\n")
    return load(path, credentials=False, environment={}).console


def test_a_file_says_all_of_it(tmp_path):
    """Each key is read, and what a file does not say is on this machine alone."""
    text = """
enabled = false
host = "0.0.0.0"
port = 9001
public_url = "https://console.example/"
trusted_proxy = true
trusted_proxies = ["10.0.0.0/8", "::1"]"""
    assert read(tmp_path, text) == ConsoleSettings(
        enabled=False,
        host="0.0.0.0",
        port=9001,
        public_url="https://console.example",
        trusted_proxy=True,
        trusted_proxies=("10.0.0.0/8", "::1"),
    )
    assert read(tmp_path, "") == ConsoleSettings(host="127.0.0.1", port=8001)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('public_url = "console.example"', "public_url"),
        ('public_url = "https://console.example/console"', "public_url"),
        ('public_url = "ftp://console.example"', "public_url"),
        ('public_url = "https://user@console.example"', "public_url"),
        ('public_url = "https://[::1"', "public_url"),
        ("port = 65536", "port"),
        ('trusted_proxies = ["everybody"]', "trusted_proxies"),
        ("trusted_proxy = 1", "trusted_proxy"),
        ("colour = 1", "colour"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, key):
    """With the file, the table and the key."""
    with pytest.raises(SettingsError, match=rf"tokn\.toml: \[console\] {key}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("console", "url"),
    [
        (ConsoleSettings(port=8001), "http://127.0.0.1:8001"),
        (ConsoleSettings(host="0.0.0.0", port=8002), "http://127.0.0.1:8002"),
        (ConsoleSettings(host="::", port=8002), "http://[::1]:8002"),
        (ConsoleSettings(host="::1", port=8002), "http://[::1]:8002"),
        (ConsoleSettings(public_url="https://console.example"), "https://console.example"),
    ],
)
def test_where_people_open_it(console, url):
    """The address that a start prints, with a token behind a # or with how to get one."""
    assert console.url == url
    assert link(url, "token") == f"{url}/login#t=token"
    assert console_line(console, "token") == (
        f"console: {url}/login#t=token   (once, within 10 minutes; again: tokn console login)"
    )
    assert console_line(console, "") == f"console: {url}   (to sign in: tokn console login)"
