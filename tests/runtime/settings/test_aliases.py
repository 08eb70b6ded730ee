from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.settings.aliases import ALIASES_MAX
from runtime.settings.settings import SettingsError, decode, encode, load
from runtime.settings.sold import sold, sold_by
from schemas.catalogue.aliases import CANDIDATES_MAX
from schemas.catalogue.builtin import BUILTIN

IDS = [model.id for model in BUILTIN]
A, B, C = IDS[:3]


def alias(name: str, *models: str) -> str:
    """One table of a file."""
    return f"[[aliases]]\nid = {name!r}\nmodels = {list(models)!r}\n"


def read(folder: Path, text: str) -> dict[str, tuple[str, ...]]:
    """What the aliases of a file stand for."""
    path = folder / "tokn.toml"
    path.write_text(text)
    settings = load(path, credentials=True, environment={})
    assert decode(encode(settings)) == settings
    return {one.id: one.models for one in settings.aliases}


def test_an_alias_may_name_what_a_pool_sells(tmp_path):
    """The rows of a pool's preset are models too, under both of their names; their names are taken for aliases."""
    pool = "[pools.main]\nprovider = 'openai'\naccounts = [{ id = 'a', api_key = 'k' }]\n"
    names = ("main/gpt-4.1-nano", "gpt-4.1-nano")
    assert read(tmp_path, pool + alias("quick", *names)) == {"quick": names}
    with pytest.raises(SettingsError, match="is a model too"):
        read(tmp_path, pool + alias("main/gpt-4.1-nano", A))


def test_an_alias_goes_before_a_vendors_bare_id(tmp_path):
    """The id that only rows of presets have is an alias's to take; the row stays under its pool's name."""
    pool = "[pools.main]\nprovider = 'openai'\naccounts = [{ id = 'a', api_key = 'k' }]\n"
    text = pool + alias("gpt-6-luna", "main/gpt-6-luna", A) + alias("b", "gpt-6-luna", B)
    taken = {"gpt-6-luna": ("main/gpt-6-luna", A), "b": ("main/gpt-6-luna", A, B)}
    assert read(tmp_path, text) == taken
    settings = load(tmp_path / "tokn.toml", credentials=True, environment={})
    ids = [model.id for model in sold(settings, date(2026, 11, 26))]
    assert "gpt-6-luna" not in ids
    assert "main/gpt-6-luna" in ids
    assert "gpt-6-luna" not in sold_by(settings, settings.pools[0], date(2026, 11, 26))
    with pytest.raises(SettingsError, match="in a circle: gpt-6-luna -> "):
        read(tmp_path, pool + alias("gpt-6-luna", "gpt-6-luna"))


def test_an_alias_is_a_list_of_rows(tmp_path):
    """Names of rows stay in their order, names of aliases become their rows wherever they stand, and none comes twice."""
    text = alias("all", "two", A, C) + alias("two", B, A)
    assert read(tmp_path, text) == {"two": (B, A), "all": (B, A, C)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (alias("a", "a"), ["[[aliases]] models", "in a circle: a -> a", "take one"]),
        (alias("a", "b") + alias("b", "c") + alias("c", A, "b"), ["models", "b -> c -> b", "take one"]),
        (alias("a", A, "nowhere"), ["[[aliases]] models", "'nowhere' is neither", "[[models]]"]),
        (alias("a"), ["[[aliases]] models", "1 to 8"]),
        ("[[aliases]]\nid = 'a'\n", ["[[aliases]] models", "1 to 8"]),
        (alias("a", *IDS[: CANDIDATES_MAX + 1]), ["[[aliases]] models", "1 to 8"]),
        (alias("a", "b", "c") + alias("b", *IDS[:5]) + alias("c", *IDS[5:10]), ["stand for 10", "take some"]),
        (alias(A, B), ["[[aliases]] id", "is a model too", "another name"]),
        (alias("a", A) + alias("a", B), ["[[aliases]] id", "two aliases", "another name"]),
        (alias("", A), ["[[aliases]] id", "is needed"]),
        (alias(" a", A), ["[[aliases]] id", "printable"]),
        (alias("x" * 257, A), ["[[aliases]] id", "256"]),
        ("[[aliases]]\nid = 'a'\nmodels = 'b'\n", ["[[aliases]] models", "a list"]),
        ("[[aliases]]\nid = 'a'\nmodels = [1]\n", ["[[aliases]] models", "list of texts"]),
        (alias("a", A) + "colour = 1\n", ["[[aliases]] colour", "unknown key"]),
        ("".join(alias(f"a{n}", A) for n in range(ALIASES_MAX + 1)), ["more than 256", "leave some out"]),
    ],
)
def test_a_broken_alias_is_one_line_that_says_where(tmp_path, text, words):
    """Whatever is wrong, the error is one line with the file, the key, and what to do."""
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    line = str(caught.value)
    assert "\n" not in line
    for word in [str(tmp_path / "tokn.toml"), *words]:
        assert word in line, line


def test_the_longest_chain_is_read(tmp_path):
    """Aliases of aliases, as many as a file may have, resolve: depth breaks no reader."""
    chain = [alias(f"a{n}", f"a{n + 1}") for n in range(ALIASES_MAX - 1)] + [alias(f"a{ALIASES_MAX - 1}", A)]
    assert set(read(tmp_path, "".join(chain)).values()) == {(A,)}


@given(data=st.data())
def test_any_aliases_are_rows_or_a_settings_error(tmp_path_factory, data):
    """Whatever points to whatever, each alias has 1 to 8 different rows, or the file is refused."""
    names = ["p", "q", "r", "s"]
    targets = st.lists(st.sampled_from([*names, *IDS]), max_size=CANDIDATES_MAX)
    text = "".join(alias(name, *data.draw(targets)) for name in names)
    try:
        found = read(tmp_path_factory.mktemp("aliases"), text)
    except SettingsError:
        return
    assert set(found) == set(names)
    for models in found.values():
        assert 1 <= len(models) == len(set(models)) <= CANDIDATES_MAX
        assert set(models) <= set(IDS)
