import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from runtime.bus.server import binary
from runtime.settings.settings import load
from schemas.bus.subjects import Role
from tests.fakes.tokn import ROOT, environment
from tokn import deploy


def contents(folder: Path) -> dict[str, str]:
    """What each file says."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def passwords(text: str) -> dict[str, str]:
    """A credentials file as role and password."""
    return dict(line.split() for line in text.splitlines())


def test_each_service_gets_its_own_secrets_only(tmp_path: Path) -> None:
    """A folder for each service: its roles' passwords, as the server has them; the books' secrets for the ledger alone."""
    deploy.make_secrets(tmp_path)
    made = contents(tmp_path)
    assert set(made) == {
        *("nats/server.conf", "postgres/password", "ledger/database_url", "ledger/pepper"),
        *("edge/nats", "worker/nats", "ledger/nats", "command/nats"),
    }
    shared = {}
    for service, roles in deploy.SERVICE_ROLES.items():
        found = passwords(made[f"{service}/nats"])
        assert set(found) == {role.value for role in roles}
        assert not shared.keys() & found.keys()
        shared |= found
    assert len(set(shared.values())) == len(shared)
    assert all(f'"{password}"' in made["nats/server.conf"] for password in shared.values())
    assert set(shared) == {role.value for role in Role}
    assert make_url(made["ledger/database_url"]).password == made["postgres/password"]
    assert len(made["ledger/pepper"]) >= 32
    assert made["ledger/pepper"] not in made["nats/server.conf"]


def test_secrets_stay_over_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start changes nothing, whatever the environment says by then."""
    deploy.make_secrets(tmp_path)
    made = contents(tmp_path)
    monkeypatch.setenv("POSTGRES_PASSWORD", "another")
    deploy.make_secrets(tmp_path)
    assert contents(tmp_path) == made


@pytest.mark.parametrize("last", ["nats/server.conf", "ledger/database_url"])
def test_a_start_that_was_cut_off_is_done_over(tmp_path: Path, last: str) -> None:
    """Without the file that is written last, its group is made again as a whole, and fits together."""
    deploy.make_secrets(tmp_path)
    before = contents(tmp_path)
    (tmp_path / last).unlink()
    deploy.make_secrets(tmp_path)
    made = contents(tmp_path)
    assert set(made) == set(before)
    assert all(
        f'"{password}"' in made["nats/server.conf"] for password in passwords(made["edge/nats"]).values()
    )
    assert make_url(made["ledger/database_url"]).password == made["postgres/password"]


def test_secrets_of_the_environment_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TOKN_PEPPER and POSTGRES_PASSWORD are used as they are, signs that mean something in a URL included."""
    monkeypatch.setenv("POSTGRES_PASSWORD", "p@ss/w:rd %41#?")
    monkeypatch.setenv("TOKN_PEPPER", "a long random text")
    deploy.make_secrets(tmp_path)
    made = contents(tmp_path)
    assert made["postgres/password"] == "p@ss/w:rd %41#?"
    assert make_url(made["ledger/database_url"]).password == "p@ss/w:rd %41#?"
    assert make_url(made["ledger/database_url"]).host == "postgres"
    assert made["ledger/pepper"] == "a long random text"


def test_nats_server_takes_its_configuration(tmp_path: Path) -> None:
    """The written configuration is one that nats-server itself accepts."""
    deploy.make_secrets(tmp_path)
    subprocess.run([binary(), "-t", "-c", tmp_path / "nats" / "server.conf"], check=True, capture_output=True)


def test_the_shipped_configuration_reads_the_secrets(tmp_path: Path) -> None:
    """deploy/tokn.toml, with the mount point replaced, gives a worker its two roles and no database."""
    deploy.make_secrets(tmp_path)
    text = (ROOT / "deploy" / "tokn.toml").read_text()
    config = tmp_path / "tokn.toml"
    config.write_text(text.replace("/run/tokn/", f"{tmp_path}/worker/"))
    (tmp_path / "worker" / "database_url").write_text("")
    (tmp_path / "worker" / "pepper").write_text("")
    settings = load(config, credentials=False)
    assert settings.nats.passwords == passwords((tmp_path / "worker" / "nats").read_text())
    assert [pool.name for pool in settings.pools] == ["sandbox", "openai", "anthropic", "gemini", "bedrock"]
    assert settings.metrics_port == 9100


STAND_IN = """#!{python}
import pathlib, sys
log = pathlib.Path({log!r})
with log.open("a") as file:
    print(*sys.argv[1:], file=file)
if sys.argv[1:3] == ["key", "list"]:
    print({listed!r}, end="")
    sys.exit({code})
print("tokn_made")
"""


@pytest.mark.parametrize(
    ("listed", "code", "made"),
    [("", 0, True), ('{"id": "key_1"}\n', 0, False), ("", 4, False)],
    ids=["none yet", "one there", "ledger away"],
)
def test_the_first_key_is_made_once(tmp_path: Path, listed: str, code: int, made: bool) -> None:
    """A key is made only after a list that worked and was empty; a failure is passed on, so that compose tries again."""
    log = tmp_path / "log"
    command = tmp_path / "tokn"
    command.write_text(STAND_IN.format(python=sys.executable, log=str(log), listed=listed, code=code))
    command.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "tokn.deploy", "first-key", "tokn.toml"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**environment(), "PATH": f"{tmp_path}"},
    )
    asked = log.read_text().splitlines()
    assert done.returncode == code
    assert asked[0] == "key list --config tokn.toml --json"
    assert asked[1:] == (["key create --name first --balance 5 --config tokn.toml"] if made else [])
    assert ("tokn_made" in done.stdout) == made


def test_an_unknown_command_says_how(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything else is exit code 2 and one line of usage."""
    monkeypatch.setattr(sys, "argv", ["tokn.deploy", "what"])
    assert deploy.main() == 2
    assert capsys.readouterr().err.startswith("usage: ")
