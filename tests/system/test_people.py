"""The commands on operators and management keys, on a running gateway."""

from collections.abc import Iterator

import pytest

from schemas.admin.credentials import is_management_key
from tests.fakes.tokn import Tokn

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokn]:
    """One gateway for all of them."""
    with Tokn(tmp_path_factory.mktemp("people") / "data") as running:
        yield running


def test_operators(gateway: Tokn) -> None:
    """Made, listed, changed, invited by a link that is shown once, and removed; the last owner stays."""
    owner = gateway.row("operator", "create", "Ada", "--role", "owner")
    other = gateway.row("operator", "create", "Bob", "--email", "bob@x.example")
    assert (other["role"], other["organization"]) == ("viewer", None)
    changed = gateway.row("operator", "update", other["id"], "--role", "billing")
    assert (changed["role"], changed["version"]) == ("billing", 2)
    link = gateway.row("operator", "invite", other["id"], "--url", "https://c.example/")["link"]
    assert link.startswith("https://c.example/login#t=")
    listed = gateway.run("operator", "list")
    assert "Ada" in listed.stdout
    assert "last owner" in gateway.run("operator", "remove", owner["id"]).stderr
    assert gateway.row("operator", "remove", other["id"])["status"] == "removed"
    assert gateway.run("operator", "update", owner["id"]).returncode == 2


def test_management_keys(gateway: Tokn) -> None:
    """Made with scopes and an end, shown once, listed by their hint, revoked; each is in the log by who ran the command."""
    made = gateway.row(
        "management-key", "create", "--name", "ci", "--scopes", "keys:write,usage:read", "--expires", "90d"
    )
    assert is_management_key(made["key"])
    assert (made["hint"], made["status"]) == (made["key"][-4:], "active")
    listed = gateway.run("management-key", "list", "--json").stdout
    assert made["id"] in listed
    assert made["key"] not in listed
    assert gateway.row("management-key", "revoke", made["id"])["status"] == "revoked"
    assert "choose from" in gateway.run("management-key", "create", "--scopes", "all:all").stderr
    log = gateway.run("audit", "log", "--action", "management_key_revoke", "--json").stdout
    assert '"actor":"cli:' in log
    assert made["key"] not in gateway.run("audit", "log", "--json").stdout
