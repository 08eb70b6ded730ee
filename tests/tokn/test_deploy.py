import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.bus.identity import ACCOUNT, role_key
from runtime.bus.server import ServerOptions, binary, render
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


def signing_keys(conf: str) -> set[str]:
    """The public keys by which users may be signed, of a server's configuration."""
    token = re.search(f'{ACCOUNT}: "(.*)"', conf)
    assert token is not None
    claims = json.loads(base64.urlsafe_b64decode(token[1].split(".")[1] + "=="))
    return {key["key"] for key in claims["nats"]["signing_keys"]}


def test_each_service_gets_its_own_secrets_only(tmp_path: Path) -> None:
    """A folder for each service: its roles' passwords, and the books' secrets for the ledger alone.

    The server has the keys that the passwords stand for, and not the passwords.
    """
    deploy.make_secrets(tmp_path)
    made = contents(tmp_path)
    assert set(made) == {
        *("nats/server.conf", "postgres/password", "ledger/database_url", "ledger/pepper"),
        *("edge/nats", "worker/nats", "ledger/nats", "command/nats", "console/nats"),
    }
    shared = {}
    for service, roles in deploy.SERVICE_ROLES.items():
        found = passwords(made[f"{service}/nats"])
        assert set(found) == {role.value for role in roles}
        assert not shared.keys() & found.keys()
        shared |= found
    assert len(set(shared.values())) == len(shared)
    assert signing_keys(made["nats/server.conf"]) == {role_key(*pair).public for pair in shared.items()}
    assert not [password for password in shared.values() if password in made["nats/server.conf"]]
    assert set(shared) == {role.value for role in Role}
    assert url_of(made).password == made["postgres/password"]
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
    assert signing_keys(made["nats/server.conf"]) >= {
        role_key(*pair).public for pair in passwords(made["edge/nats"]).items()
    }
    assert url_of(made).password == made["postgres/password"]


def url_of(made: dict[str, str]) -> Any:
    """The address of the books, as SQLAlchemy reads it."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415  only who runs this pays for it

    return make_url(made["ledger/database_url"])


def write_as_v0_2(folder: Path, roles: list[str]) -> dict[str, str]:
    """Secrets as version 0.2.0 wrote them, when there were these roles: users with passwords, in files nobody may write."""
    made = {role: f"{role}-of-0-2-0" for role in roles}
    options = ServerOptions(
        port=4222, store=Path("/data"), passwords=dict.fromkeys(Role, "") | made, signed=False
    )
    files = {"nats/server.conf": render(options), "ledger/pepper": "the pepper", "postgres/password": "known"}
    files["ledger/database_url"] = "postgresql+asyncpg://tokn:known@postgres:5432/tokn"
    for service, has in deploy.SERVICE_ROLES.items():
        files[f"{service}/nats"] = "".join(f"{role} {made[role]}\n" for role in has if role in made)
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o444)
    return made


@pytest.mark.parametrize("lacks", [[], ["usage"], ["usage", "command"]], ids=["none", "one", "two"])
def test_volumes_of_an_earlier_version_are_taken(tmp_path: Path, lacks: list[str]) -> None:
    """Passwords that are there stay, a role that came later gets one, and the server's file is that of this version."""
    made = write_as_v0_2(tmp_path, [role.value for role in Role if role.value not in lacks])
    deploy.make_secrets(tmp_path)
    found = contents(tmp_path)
    known = {}
    for service in deploy.SERVICE_ROLES:
        known |= passwords(found[f"{service}/nats"])
    assert set(known) == {role.value for role in Role}
    assert {role: known[role] for role in made} == made
    assert signing_keys(found["nats/server.conf"]) == {role_key(*pair).public for pair in known.items()}
    assert found["ledger/pepper"] == "the pepper"
    assert found["postgres/password"] == "known"
    assert "known" in found["ledger/database_url"]
    assert not [name for name in found if name.endswith(".new")]


def test_a_pool_has_users_of_its_own(tmp_path: Path) -> None:
    """A folder of one pool gets passwords of that pool's users, which no other folder has, and keeps them."""
    for pool in ("openai", "my-pool"):
        (tmp_path / f"worker-{pool}").mkdir()
    deploy.make_secrets(tmp_path)
    made = contents(tmp_path)
    own = passwords(made["worker-my-pool/nats"])
    assert set(own) == {"worker.my-pool", "usage.my-pool"}
    assert {role_key(*pair).public for pair in own.items()} < signing_keys(made["nats/server.conf"])
    assert set(passwords(made["worker/nats"])) == {"worker", "usage"}
    assert [name for name, text in made.items() if set(own.values()) & set(text.split())] == [
        "worker-my-pool/nats"
    ]
    deploy.make_secrets(tmp_path)
    assert contents(tmp_path) == made


def test_each_worker_of_compose_has_its_own_pools_secrets() -> None:
    """Of the secrets of workers, each service has those of its pool alone, whatever it is scaled to; the image has the folders."""
    text = (ROOT / "compose.yaml").read_text()
    services = dict(re.findall(r"\n  worker-(\w+):\n(.*?)(?=\n\n)", text, re.DOTALL))
    assert set(services) == {"sandbox", "openai", "anthropic", "gemini", "bedrock"}
    image = (ROOT / "Dockerfile").read_text()
    for pool, service in services.items():
        assert f"[worker, {pool}, " in service
        assert re.findall(r"(secrets-[\w-]+):", service) == [f"secrets-worker-{pool}"]
        assert f"      - secrets-worker-{pool}:/secrets/worker-{pool}\n" in text
        assert f"\n  secrets-worker-{pool}:\n" in text
        assert f" /secrets/worker-{pool}" in image
    assert "entrypoint: [python, -m, tokn.deploy, nats, /run/tokn/server.conf]" in text


def test_a_rotated_password_is_made_anew(tmp_path: Path) -> None:
    """Without a role's line its next start has another password, and the server knows that one only."""
    deploy.make_secrets(tmp_path)
    before = contents(tmp_path)
    worker = tmp_path / "worker" / "nats"
    worker.unlink()
    worker.write_text("".join(line for line in before["worker/nats"].splitlines(True) if "usage" in line))
    deploy.make_secrets(tmp_path)
    made = contents(tmp_path)
    old, new = passwords(before["worker/nats"]), passwords(made["worker/nats"])
    assert new["usage"] == old["usage"]
    assert new["worker"] != old["worker"]
    assert role_key("worker", old["worker"]).public not in signing_keys(made["nats/server.conf"])


def test_the_server_of_compose_keeps_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier version has stored for nobody in particular is the account's, before the server itself runs."""
    events = tmp_path / "jetstream" / "$G" / "streams" / "USAGE"
    events.mkdir(parents=True)
    ran: list[list[str]] = []
    monkeypatch.setattr(deploy, "STORE", tmp_path)
    monkeypatch.setattr(deploy.os, "execv", lambda _path, arguments: ran.append(arguments))
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["tokn.deploy", "nats", "server.conf"])
        assert deploy.main() == 0
        assert [path.name for path in (tmp_path / "jetstream").iterdir()] == [ACCOUNT]
        assert (tmp_path / "jetstream" / ACCOUNT / "streams" / "USAGE").is_dir()
    assert ran == [[binary(), "-c", "server.conf"]] * 2


def test_secrets_of_the_environment_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TOKN_PEPPER and POSTGRES_PASSWORD are used as they are, signs that mean something in a URL included."""
    monkeypatch.setenv("POSTGRES_PASSWORD", "p@ss/w:rd %41#?")
    monkeypatch.setenv("TOKN_PEPPER", "a long random text")
    deploy.make_secrets(tmp_path)
    made = contents(tmp_path)
    assert made["postgres/password"] == "p@ss/w:rd %41#?"
    assert url_of(made).password == "p@ss/w:rd %41#?"
    assert url_of(made).host == "postgres"
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
    then = ["key create --name first --balance 5 --config tokn.toml", "console login --config tokn.toml"]
    assert asked[1:] == (then if made else [])
    assert ("tokn_made" in done.stdout) == made


def test_an_unknown_command_says_how(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything else is exit code 2 and one line of usage."""
    monkeypatch.setattr(sys, "argv", ["tokn.deploy", "what"])
    assert deploy.main() == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_the_image_has_the_console() -> None:
    """Its folder whole, with templates and style sheet, and a folder for its secrets, which compose mounts into it alone."""
    image, text = (ROOT / "Dockerfile").read_text(), (ROOT / "compose.yaml").read_text()
    assert "COPY console /opt/tokn/src/console\n" in image
    assert " /secrets/console " in image
    assert text.count("secrets-console:/run/tokn:ro") == 1
    assert "\n  secrets-console:\n" in text
