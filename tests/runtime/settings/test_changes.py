"""What differs between two settings is told by its place, without a secret, and as live, to be restarted, or refused."""

from pathlib import Path

import pytest

from runtime.settings import changes
from runtime.settings.changes import differences, kept
from runtime.settings.settings import Settings, SettingsError, load

BASE = """
[ledger]
pepper = "a first pepper"
database_url = "postgresql+asyncpg://tokn:a-first-password@127.0.0.1/tokn"
[pools.p]
provider = "openai"
[[pools.p.accounts]]
id = "a"
api_key = "sk-first"
max_inflight = 5
credit_usd = 3
[[models]]
id = "m"
pool = "p"
input = 1
output = 2
context = 100
max_output = 10
"""
SECRETS = ("a first", "sk-first", "sk-second", "a second", "a-first-password", "a-second-password")


def settings(tmp_path: Path, text: str) -> Settings:
    """The settings of a file's text."""
    path = tmp_path / "tokn.toml"
    path.write_text(text)
    return load(path, credentials=True, environment={})


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("max_inflight = 5", "max_inflight = 6", ["[pools.p.accounts] a max_inflight: 5 -> 6"]),
        ('"sk-first"', '"sk-second"', ["[pools.p.accounts] a api_key: changed"]),
        (
            'id = "a"',
            'id = "b"',
            ["[pools.p.accounts] b: new", "[pools.p.accounts] a: gone"],
        ),
        ("credit_usd = 3\n", "", ["[pools.p.accounts] a credit_usd: changed"]),
        ("input = 1", "input = 3", ["[[models]] m: prices changed"]),
        ("context = 100", "context = 200", ["[[models]] m: context 100 -> 200"]),
        ('id = "m"', 'id = "n"', ["[[models]] n: new", "[[models]] m: gone"]),
        (
            "[pools.p]\n",
            "[pools.p]\nrate = 0.5\n",
            ["[pools.p] rate: changed", "[[models]] m: rate 0.60 -> 0.5"],
        ),
        ("a first pepper", "a second pepper", ["[ledger] pepper: changed"]),
        (
            "a-first-password",
            "a-second-password",
            ["[ledger] database_url: changed: needs a restart of ledger"],
        ),
        (
            "[ledger]",
            "[calls]\nidle_s = 5\n[edge]\ngrace_s = 7200\n[ledger]",
            ["[calls] idle_s: 600.0 -> 5.0: needs a restart of edge, worker"],
        ),
        (
            "[ledger]",
            '[[aliases]]\nid = "x"\nmodels = ["m"]\n[ledger]',
            ["[[aliases]] x: new"],
        ),
        ("", "", []),
    ],
)
def test_differences_are_told_without_secrets(
    tmp_path: Path, before: str, after: str, lines: list[str]
) -> None:
    """Each kind of difference is one line for each thing that differs; none has a secret's value."""
    old, new = settings(tmp_path, BASE), settings(tmp_path, BASE.replace(before, after, 1))
    told = [change.line for change in differences(old, new, old)]
    assert told == lines
    assert not [secret for secret in SECRETS for line in told if secret in line]


def test_an_opening_credit_is_not_changed(tmp_path: Path) -> None:
    """A first figure is a difference like others; another one later is refused, with the command for it."""
    none, first = settings(tmp_path, BASE.replace("credit_usd = 3\n", "")), settings(tmp_path, BASE)
    assert [change.place for change in differences(none, first, none)] == ["[pools.p.accounts] a credit_usd"]
    with pytest.raises(SettingsError, match=r"tokn pool credit p a USD"):
        differences(first, settings(tmp_path, BASE.replace("credit_usd = 3", "credit_usd = 4")), first)


def test_what_needs_a_restart_is_kept(tmp_path: Path) -> None:
    """Settings to run on have what needs a restart as it was at the start, and all else as it is now: every row of it."""
    old = settings(tmp_path, BASE)
    new = settings(
        tmp_path,
        '[nats]\nurl = "nats://elsewhere"\n[metrics]\nport = 9\n'
        "[calls]\nidle_s = 5\n[edge]\nport = 1\nkeep_items = false\nusage_cost = true\npages = false\ndrain_s = 3\n"
        + BASE.replace("first", "second").replace("max_inflight = 5", "max_inflight = 6"),
    )
    whole = kept(new, old)
    assert whole.pools == new.pools
    left = differences(old, whole, old)
    assert left
    assert not [change.line for change in left if change.restart]


# Told of one by one, following from other fields, or of the environment, which does not change.
ELSEWHERE = {
    "pools",
    "models",
    "aliases",
    "guessed_pictures",
    "builtin_rows",
    "source",
    "files",
    "public_url",
    "data",
    "given",
}


def test_every_setting_is_compared() -> None:
    """A setting that is added has a row that says whether it is live: else its change would be told to nobody."""
    seen: set[str] = set()

    class Recorder:
        def __getattr__(self, name: str) -> Settings:
            seen.add(name)
            return getattr(Settings(), name)

    for row in changes.ROWS:
        row.of(Recorder())  # type: ignore[arg-type]  it only has to have the same attributes
    assert seen | ELSEWHERE == set(Settings.__struct_fields__)
    for part, prefix in (("nats", "[nats"), ("calls", "["), ("connections", "[edge]")):
        names = getattr(Settings(), part).__struct_fields__
        rows = " ".join(row.place for row in changes.ROWS if row.place.startswith(prefix))
        told = {"passwords": "credentials", "former": "credentials", "ca": "tls", "cert": "tls", "key": "tls"}
        assert [name for name in names if told.get(name, name) not in rows] == []
