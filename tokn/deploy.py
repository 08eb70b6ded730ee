"""Owns what compose needs once: the secrets of each role, made on the first start, and the first key."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from runtime.bus.server import ServerOptions, adopt, binary, render
from schemas.bus.subjects import Role
from schemas.permissions import POOL_ROLES
from tokn.folder import with_passwords
from tokn.settings import variable

SERVICE_ROLES = {
    "edge": (Role.EDGE,),
    "worker": (Role.WORKER, Role.USAGE),
    "ledger": (Role.LEDGER,),
    "command": (Role.COMMAND,),
    "console": (Role.CONSOLE,),
}
NATS_PORT = 4222
STORE = Path("/data")
POOL_FOLDER = "worker-"
FIRST_BALANCE_USD = "5"


def make_secrets(folder: Path) -> None:
    """Writes each service's secrets into a folder of its own below `folder`; those that are there stay.

    `TOKN_PEPPER` and `POSTGRES_PASSWORD` set those two; the rest is random. A second run changes nothing, so that
    services keep their passwords over restarts. The server's configuration is written each time from the passwords,
    since a new version may have other roles and permissions: a role that has none yet gets one. A folder `worker-POOL`
    gets users of that pool alone; those in `worker` are of every pool. Of the books' secrets
    the file that is asked for is written last, so a run that was cut off is done over.
    """
    users = {service: tuple(role.value for role in roles) for service, roles in SERVICE_ROLES.items()}
    for path in sorted(folder.glob(f"{POOL_FOLDER}*")):
        users[path.name] = tuple(f"{role.value}.{path.name.removeprefix(POOL_FOLDER)}" for role in POOL_ROLES)
    passwords = with_passwords(_kept(folder, users), chain.from_iterable(users.values()))
    for service, names in users.items():
        _write(folder / service / "nats", "".join(f"{name} {passwords[name]}\n" for name in names))
    options = ServerOptions(host="0.0.0.0", port=NATS_PORT, store=STORE, passwords=passwords)  # noqa: S104  the compose network is private
    _write(folder / "nats" / "server.conf", render(options))
    if not (folder / "ledger" / "database_url").exists():
        password = variable("POSTGRES_PASSWORD") or secrets.token_urlsafe(24)
        _write(folder / "postgres" / "password", password)
        _write(folder / "ledger" / "pepper", variable("TOKN_PEPPER") or secrets.token_urlsafe(32))
        url = f"postgresql+asyncpg://tokn:{quote(password, safe='')}@postgres:5432/tokn"
        _write(folder / "ledger" / "database_url", url)


def _kept(folder: Path, services: Iterable[str]) -> dict[str, str]:
    """The passwords of all users that have one."""
    kept: dict[str, str] = {}
    for service in services:
        path = folder / service / "nats"
        if path.exists():
            kept |= dict(line.split() for line in path.read_text().splitlines())
    return kept


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.write_text(text)
    fresh.chmod(0o444)  # each folder is mounted into one service only, whose user differs from image to image
    fresh.replace(path)  # in one step: whoever starts meanwhile reads the one or the other


def nats(config: str, store: Path) -> None:
    """Becomes nats-server, on what an earlier version has stored. Raises OSError."""
    adopt(store)
    server = binary()
    os.execv(server, [server, "-c", config])  # noqa: S606  our own program


def first_key(config: str) -> int:
    """Makes a key with 5 USD and prints it with a link to the console, if there is none yet; the exit code of the command that failed, else 0."""
    asked = ["tokn", "key", "list", "--config", config, "--json"]
    listed = subprocess.run(asked, capture_output=True, check=False)  # noqa: S603  our own command
    if listed.returncode or listed.stdout.strip():
        return listed.returncode
    made = ["tokn", "key", "create", "--name", "first", "--balance", FIRST_BALANCE_USD, "--config", config]
    if code := subprocess.run(made, check=False).returncode:  # noqa: S603  as above
        return code
    link = ["tokn", "console", "login", "--config", config]
    subprocess.run(link, check=False)  # noqa: S603  as above; it can be made again, so nothing depends on it
    return 0


def main() -> int:
    """The module as a command: `secrets FOLDER`, `nats CONFIG` or `first-key CONFIG`."""
    match sys.argv[1:]:
        case ["secrets", folder]:
            make_secrets(Path(folder))
            return 0
        case ["nats", config]:
            nats(config, STORE)
            return 0
        case ["first-key", config]:
            return first_key(config)
        case _:
            sys.stderr.write("usage: python -m tokn.deploy secrets FOLDER | nats CONFIG | first-key CONFIG\n")
            return 2


if __name__ == "__main__":
    sys.exit(main())
