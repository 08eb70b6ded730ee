"""What becomes of answers whose callers leave: what a file says of it, and which models are known to reason."""

from datetime import date
from pathlib import Path

import pytest

from runtime.settings.settings import Settings, SettingsError, decode, encode, load
from runtime.settings.sold import sold_by

TODAY = date(2026, 11, 1)
POOL = '[pools.own]\nprovider = "openai"\n{pool}[[pools.own.accounts]]\nid = "a"\napi_key = "k"\nbase_url = "http://up/v1"\n'
ROW = '[[models]]\nid = "m"\npool = "own"\ninput = 1\noutput = 2\ncontext = 1000\nmax_output = 100\n{row}'


def read(tmp_path: Path, text: str) -> Settings:
    """The settings of a file."""
    path = tmp_path / "tokn.toml"
    path.write_text(text)
    settings = load(path, credentials=False, environment={})
    assert decode(encode(settings)) == settings
    return settings


@pytest.mark.parametrize("pool", ["", "close", "drain"])
@pytest.mark.parametrize("row", ["", "close", "drain"])
def test_pools_and_rows_say_it(tmp_path: Path, pool: str, row: str) -> None:
    """Each has its own word, or none."""
    said = [f'on_hangup = "{one}"\n' if one else "" for one in (pool, row)]
    settings = read(tmp_path, POOL.format(pool=said[0]) + ROW.format(row=said[1]))
    (made,) = (one for one in settings.pools if one.name == "own")
    sold = sold_by(settings, made, TODAY)["m"]
    assert (made.on_hangup, sold.on_hangup) == (pool, row)


@pytest.mark.parametrize(("pool", "row"), [('"wait"', '"close"'), ('"close"', '"DRAIN"'), ("3", '"close"')])
def test_anything_else_is_refused(tmp_path: Path, pool: str, row: str) -> None:
    """One line says where."""
    with pytest.raises(SettingsError, match="on_hangup"):
        read(tmp_path, POOL.format(pool=f"on_hangup = {pool}\n") + ROW.format(row=f"on_hangup = {row}\n"))


@pytest.mark.parametrize(("text", "drain_s"), [("", 300), ("[calls]\ndrain_s = 20\n", 20)])
def test_reading_on_is_bounded(tmp_path: Path, text: str, drain_s: float) -> None:
    """Five minutes, or what the file says."""
    assert read(tmp_path, text).calls.drain_s == drain_s


@pytest.mark.parametrize("figure", ["0", "86_401", "'long'"])
def test_a_bad_bound_is_refused(tmp_path: Path, figure: str) -> None:
    """As any other figure of the table."""
    with pytest.raises(SettingsError, match="drain_s"):
        read(tmp_path, f"[calls]\ndrain_s = {figure}\n")


@pytest.mark.parametrize(
    ("provider", "model", "reasons"),
    [
        ("groq", "openai/gpt-oss-120b", True),
        ("deepseek", "deepseek-v4-flash", True),
        ("mistral", "devstral-latest", False),  # it can go without, and does unless it is asked
        ("groq", "llama-3.3-70b-versatile", False),
    ],
)
def test_rows_of_vendors_say_who_reasons(tmp_path: Path, provider: str, model: str, reasons: bool) -> None:
    """A vendor whose server judges efforts itself is known by its row to have models that reason unasked."""
    text = f'[pools.own]\nprovider = "{provider}"\n[[pools.own.accounts]]\nid = "a"\napi_key = "k"\n'
    settings = read(tmp_path, text)
    (made,) = (one for one in settings.pools if one.name == "own")
    sold = sold_by(settings, made, TODAY)
    assert sold[f"own/{model}"].capabilities.reasons is reasons


def test_a_row_may_say_that_its_model_reasons(tmp_path: Path) -> None:
    """Of a server of one's own nobody else can."""
    row = ROW.format(row="[models.capabilities]\nreasons = true\n")
    settings = read(tmp_path, POOL.format(pool="") + row)
    assert next(one for one in settings.models if one.id == "m").capabilities.reasons
