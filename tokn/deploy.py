"""Owns what compose needs once: the secrets of each role, made on the first start, and the first key."""

import secrets
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from runtime.bus.server import ServerOptions, render
from schemas.bus.subjects import Role
from tokn.settings import variable

SERVICE_ROLES = {
    "edge": (Role.EDGE,),
    "worker": (Role.WORKER, Role.USAGE),
    "ledger": (Role.LEDGER,),
    "command": (Role.COMMAND,),
}
NATS_PORT = 4222
FIRST_BALANCE_USD = "5"


def make_secrets(folder: Path) -> None:
    """Writes each service's secrets into a folder of its own below `folder`, unless they are there already.

    `TOKN_PEPPER` and `POSTGRES_PASSWORD` set those two; the rest is random. A second run changes nothing, so that
    services keep their passwords over restarts. The file that is asked for is written last, so a run that was cut off
    is done over.
    """
    if not (folder / "nats" / "server.conf").exists():
        passwords = {role.value: secrets.token_urlsafe(24) for role in Role}
        for service, roles in SERVICE_ROLES.items():
            lines = "".join(f"{role.value} {passwords[role.value]}\n" for role in roles)
            _write(folder / service / "nats", lines)
        options = ServerOptions(host="0.0.0.0", port=NATS_PORT, store=Path("/data"), passwords=passwords)  # noqa: S104  the compose network is private
        _write(folder / "nats" / "server.conf", render(options))
    if not (folder / "ledger" / "database_url").exists():
        password = variable("POSTGRES_PASSWORD") or secrets.token_urlsafe(24)
        _write(folder / "postgres" / "password", password)
        _write(folder / "ledger" / "pepper", variable("TOKN_PEPPER") or secrets.token_urlsafe(32))
        url = f"postgresql+asyncpg://tokn:{quote(password, safe='')}@postgres:5432/tokn"
        _write(folder / "ledger" / "database_url", url)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o444)  # each folder is mounted into one service only, whose user differs from image to image


def first_key(config: str) -> int:
    """Makes a key with 5 USD and prints it, if there is none yet; the exit code of the command that failed, else 0."""
    asked = ["tokn", "key", "list", "--config", config, "--json"]
    listed = subprocess.run(asked, capture_output=True, check=False)  # noqa: S603  our own command
    if listed.returncode or listed.stdout.strip():
        return listed.returncode
    made = ["tokn", "key", "create", "--name", "first", "--balance", FIRST_BALANCE_USD, "--config", config]
    return subprocess.run(made, check=False).returncode  # noqa: S603  as above


def main() -> int:
    """The module as a command: `secrets FOLDER` or `first-key CONFIG`."""
    match sys.argv[1:]:
        case ["secrets", folder]:
            make_secrets(Path(folder))
            return 0
        case ["first-key", config]:
            return first_key(config)
        case _:
            sys.stderr.write("usage: python -m tokn.deploy secrets FOLDER | first-key CONFIG\n")
            return 2


if __name__ == "__main__":
    sys.exit(main())
