"""Which version the command says it is."""

import tomllib

from tests.fakes.tokn import ROOT, ask


def test_the_version_is_the_projects():
    """`tokn --version` says what pyproject.toml has, and is all that it does."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    done = ask("--version")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f"tokn {project['version']}", "")
