"""Settings as people see them: every value by its place, and never a secret."""

from msgspec import structs

from runtime.settings.described import described, given
from runtime.settings.settings import load, redacted
from schemas.bus.subjects import Role

TEXT = """
[ledger]
pepper = "a first pepper"
database_url = "postgresql+asyncpg://tokn:a-password@127.0.0.1/tokn"
[edge]
port = 8123
cors_origins = ["https://a.example", "https://b.example"]
[pools.p]
provider = "openai"
rate = 0.5
[[pools.p.accounts]]
id = "a"
api_key = "sk-secret"
base_url = "https://user:hushed@upstream.example/v1?key=hidden"
credit_usd = 12.5
[[models]]
id = "m"
pool = "p"
input = 1
output = 2
context = 100
max_output = 10
"""
SECRETS = ("a first pepper", "a-password", "sk-secret", "hushed", "hidden")


def test_no_secret_is_shown(tmp_path):
    """All that a file can say is there, with its services to restart; of secrets only that they are set."""
    path = tmp_path / "tokn.toml"
    path.write_text(TEXT)
    settings = load(path, credentials=True, environment={})
    whole = structs.replace(settings, given=given(settings))
    ledgers = redacted(whole, (Role.LEDGER,), credentials=False, pepper=True)
    for seen in (whole, ledgers):
        rows = {one.place: one for one in described(seen)}
        assert rows["[edge] port"].value == "8123"
        assert rows["[edge] port"].restart == ("edge",)
        assert rows["[edge] cors_origins"].value == "https://a.example, https://b.example"
        assert rows["[pools.p] rate"].value == "0.5"
        assert rows["[pools.p.accounts] a base_url"].value == "https://upstream.example/v1"
        assert rows["[pools.p.accounts] a credit_usd"].value == "12.50"
        assert rows["[[models]]"].value == "m"
        for place in ("[ledger] pepper", "[ledger] database_url", "[pools.p.accounts] a api_key"):
            assert (rows[place].value, rows[place].is_set) == (None, True), place
        assert (rows["[nats] url"].value, rows["[nats] url"].is_set) == (None, False)
        text = repr(rows)
        assert not [one for one in SECRETS if one in text]


def test_what_is_not_known_is_said(tmp_path):
    """A ledger that runs alone reads no credential: whether there is one is not known, and not that there is none."""
    path = tmp_path / "tokn.toml"
    path.write_text(TEXT)
    rows = {one.place: one for one in described(load(path, credentials=False, environment={}))}
    assert rows["[pools.p.accounts] a credentials"].is_set is None
    bare = load(path, credentials=True, environment={})
    account = structs.replace(bare.pools[0].accounts[0], api_key="")
    pool = structs.replace(bare.pools[0], accounts=(account,))
    none = structs.replace(bare, pools=(pool,), given=())
    rows = {one.place: one for one in described(none)}
    assert rows["[pools.p.accounts] a credentials"].is_set is False
