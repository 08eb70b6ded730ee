"""What children get of the environment, and what a start says of it."""

import pytest

from runtime.catalogue.presets import presets
from runtime.settings.pools import environment_pools
from tests.fakes.tokn import ROOT
from tokn import settings
from tokn.settings import plain_environment, worker_environment
from tokn.up import pool_lines

AWS = {"AWS_PROFILE": "p", "AWS_REGION": "r", "AWS_SOMETHING_NEW": "x"}


def test_a_worker_gets_what_its_vendors_libraries_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of a chain reach workers of the presets that name it, and nobody else; keys never travel so."""
    for name, value in {**AWS, "GROQ_API_KEY": "k", "HF_TOKEN": "t", "HTTPS_PROXY": "p"}.items():
        monkeypatch.setenv(name, value)
    chains = {preset.name: preset.chain for preset in presets().values() if preset.chain}
    assert chains == {"bedrock": ("AWS_",)}
    assert AWS.items() <= worker_environment(chains["bedrock"]).items()
    without = worker_environment(())
    assert not {*AWS, "GROQ_API_KEY", "HF_TOKEN"} & without.keys()
    assert without["HTTPS_PROXY"] == "p"
    assert "HTTPS_PROXY" not in plain_environment()


def test_a_start_says_which_variable_made_which_pool() -> None:
    """One line a pool, with the first variable that says so and the one that names the region; none for the sandbox."""
    variables = {**AWS, "AWS_ACCESS_KEY_ID": "", "GROQ_API_KEY": "k", "NVIDIA_API_KEY": "n", "HF_TOKEN": "t"}
    assert pool_lines(environment_pools(variables, credentials=False)) == [
        "Pool bedrock: made by AWS_PROFILE and AWS_REGION",
        "Pool groq: made by GROQ_API_KEY",
        "Pool nvidia: made by NVIDIA_API_KEY; it sells nothing without [[models]] and their prices",
    ]
    assert pool_lines(environment_pools({}, credentials=False)) == []


def test_every_variable_that_a_child_gets_is_documented() -> None:
    """The page names each variable that children get of the environment."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert not [name for name in (*settings._PLAIN, *settings._NETWORK) if f"`{name.upper()}`" not in page]
