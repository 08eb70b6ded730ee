"""What a file says of the provider that people sign in by: whose address may be asked, and who gets the client's secret."""

from importlib import util
from pathlib import Path

import pytest

from runtime.settings import oidc
from runtime.settings.changes import differences
from runtime.settings.oidc import OidcSettings, is_secure, unsupported
from runtime.settings.settings import Settings, SettingsError, encode, load, redacted
from schemas.bus.subjects import Role

TEXT = """[console.oidc]
issuer = "https://id.example/realms/tokn"
client_id = "console"
client_secret = "env:TOKN_OIDC_SECRET"
roles_claim = "realm_access.roles"
"""
SECRET = {"TOKN_OIDC_SECRET": "a client's secret"}


def read(tmp_path: Path, text: str, *, pages: bool = True) -> Settings:
    """The settings of a file."""
    path = tmp_path / "tokn.toml"
    path.write_text(text)
    return load(path, credentials=False, pages=pages, environment=SECRET if pages else {})


def test_a_file_says_all_of_it(tmp_path):
    """Each key is read; without the table there is no provider."""
    more = 'organization_claim = "org"\nscopes = ["groups"]\n'
    assert read(tmp_path, TEXT + more).console.oidc == OidcSettings(
        issuer="https://id.example/realms/tokn",
        client_id="console",
        client_secret="a client's secret",
        roles_claim="realm_access.roles",
        organization_claim="org",
        scopes=("groups",),
    )
    plain = read(tmp_path, TEXT).console.oidc
    assert plain is not None
    assert (plain.scopes, plain.organization_claim, plain.name) == (("profile", "email"), "", "id.example")
    assert read(tmp_path, "[console]\n").console.oidc is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('issuer = "https://id.example/realms/tokn"', ""), "issuer: is needed"),
        (("https://id.example", "http://id.example"), "http is for this machine"),
        (("https://id.example", "ftp://id.example"), "http is for this machine"),
        (("realms/tokn", "realms?x=y"), "http is for this machine"),
        (("realms/tokn", "realms tokn"), "http is for this machine"),
        (('client_id = "console"', ""), "client_id: is needed"),
        (('client_secret = "env:TOKN_OIDC_SECRET"', ""), "client_secret: is needed"),
        (("env:TOKN_OIDC_SECRET", "env:NONE"), "NONE is not set"),
        (('roles_claim = "realm_access.roles"', ""), "roles_claim: is needed"),
        (("roles_claim", 'scopes = ["a b"]\nroles_claim'), "scopes: are at most"),
        (("roles_claim", "role_claim = 'x'\nroles_claim"), "role_claim: unknown key"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_at_the_start(tmp_path, change, words):
    """One line names the key."""
    with pytest.raises(SettingsError, match="oidc") as error:
        read(tmp_path, TEXT.replace(*change))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://id.example", True),
        ("https://id.example:8443/x?y=z", True),
        ("http://127.0.0.1:9/x", True),
        ("http://[::1]:9", True),
        ("http://localhost", True),
        ("http://localhost.example", False),
        ("http://10.0.0.1", False),
        ("https://", False),
        ("https://user@id.example", False),
        ("https://id.example/#x", False),
        ("https://id.example:99999", False),
        ("https://id.example/\r\nX: y", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_what_is_sent_crosses_no_network_in_the_clear(url, secure):
    """https, and http within this machine."""
    assert is_secure(url) is secure


def test_the_secret_is_the_consoles_alone(tmp_path):
    """Whoever runs no page does not even read it, and a parent hands it to its console alone."""
    passed = read(tmp_path, TEXT, pages=False).console.oidc
    assert passed is not None
    assert passed.client_secret == ""
    whole = read(tmp_path, TEXT)
    for role in (Role.EDGE, Role.LEDGER, Role.WORKER):
        handed = redacted(whole, (role,), credentials=True, pepper=True)
        assert b"client's secret" not in encode(handed)
        assert handed.console.oidc is not None
    assert b"client's secret" in encode(
        redacted(whole, (Role.CONSOLE,), credentials=False, pepper=False, pages=True)
    )


def test_a_change_is_live_and_told_without_the_secret(tmp_path):
    """A reload says that the provider has changed, and needs no restart."""
    before, after = read(tmp_path, "[console]\n"), read(tmp_path, TEXT)
    (change,) = differences(before, after, before)
    assert (change.line, change.restart) == ("[console.oidc]: changed", ())


def test_a_missing_package_is_one_sentence(monkeypatch):
    """It says what to install, and nothing is wrong where no provider is configured."""
    own = OidcSettings(issuer="https://id.example", client_id="c", roles_claim="r")
    assert unsupported(own) == ""
    monkeypatch.setattr(oidc, "find_spec", lambda name: None if name == "authlib" else util.find_spec(name))
    assert unsupported(own) == "needs Authlib, which is not installed: pip install authlib (the extra oidc)"
    assert unsupported(None) == ""
