import configparser
import json
import sys
from datetime import UTC, datetime, timedelta

import botocore.auth
import pytest

from runtime.settings.settings import AccountSettings
from tests.fakes.bedrock import ACCESS_KEY, REGION, SECRET_KEY
from tests.fakes.worker import until
from workers.providers.base import AccountError, Action
from workers.providers.bedrock import auth
from workers.providers.bedrock.auth import CredentialStore, Signer

DATE = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
KEYS = AccountSettings(id="a", region=REGION, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
JSON = {"content-type": "application/json"}
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
HI = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'


@pytest.fixture
def store():
    made = CredentialStore()
    yield made
    made.close()


@pytest.fixture
def at_noon(monkeypatch):
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: DATE)


@pytest.fixture
def aws_home(tmp_path, monkeypatch):
    """An empty AWS configuration of its own, and no other source of credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def write_profile(home, section: str, **values: str) -> None:
    parser = configparser.ConfigParser()
    parser[section] = values
    with (home / "config").open("w") as file:
        parser.write(file)


def chained(profile: str = "") -> AccountSettings:
    return AccountSettings(id="c", region=REGION, profile=profile)


def credentials_or_none(store: CredentialStore, account: AccountSettings):
    try:
        return store.credentials(account)
    except AccountError:
        return None


@pytest.mark.parametrize(
    "vector",
    [
        (
            "amazon.titan-text-express-v1",
            "invoke",
            b'{"inputText":"hi"}',
            "",
            "/model/amazon.titan-text-express-v1/invoke",
            "4767440d601a7a3f3e2ded3535816581518ddd6adbe3390adef9580fe433d8ba",
        ),
        (
            HAIKU,
            "converse",
            HI,
            "",
            "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
            "1d7cdcc9b9dabe214ebf8a9a1d7747d0abcaab31df31df07c4b553d8a46f41e8",
        ),
        (
            HAIKU,
            "converse",
            HI,
            "SESSIONTOKEN",
            "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
            "9a217a3204709ec3e86d863df7a2c467f3c87f159422698f38bb7c3080ddbcb0",
        ),
        (
            ARN,
            "converse",
            b"{}",
            "",
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc123/converse",
            "b017f57b65616ab2289930841e47ec6a9718cc32877385b71e5c98fe9a05fefe",
        ),
    ],
)
def test_c29_golden_signatures(store, at_noon, vector):
    """Golden vectors of SigV4: the path is encoded twice for the signature, and the host stands in it once."""
    upstream, verb, body, token, path, signature = vector
    account = AccountSettings(
        id="a", region=REGION, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, session_token=token
    )
    url, headers = Signer(store).call(account, upstream, verb, JSON, body)
    assert url == f"https://bedrock-runtime.us-east-1.amazonaws.com{path}"
    signed = "content-type;host;x-amz-date" + (";x-amz-security-token" if token else "")
    assert headers["Authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20261122/us-east-1/bedrock/aws4_request, "
        f"SignedHeaders={signed}, Signature={signature}"
    )
    assert headers["X-Amz-Date"] == "20261122T120000Z"
    assert [name.lower() for name in headers].count("host") == 0


def test_a_bearer_token_is_sent_as_it_is_and_nothing_is_signed(store):
    """The alternative to SigV4."""
    account = AccountSettings(id="a", region="eu-west-1", bearer_token="ABSKexample")
    url, headers = Signer(store).call(account, HAIKU, "converse", JSON, b"{}")
    assert url.startswith("https://bedrock-runtime.eu-west-1.amazonaws.com/model/")
    assert headers == {"content-type": "application/json", "Authorization": "Bearer ABSKexample"}


def test_each_try_is_signed_anew(store, monkeypatch):
    """A signature is good for five minutes: a retry after a cool-down carries its own date."""
    signer = Signer(store)
    dates = iter([DATE, DATE + timedelta(minutes=6)])
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: next(dates))
    first = signer.call(KEYS, HAIKU, "converse", JSON, b"{}")[1]
    second = signer.call(KEYS, HAIKU, "converse", JSON, b"{}")[1]
    assert (first["X-Amz-Date"], second["X-Amz-Date"]) == ("20261122T120000Z", "20261122T120600Z")
    assert first["Authorization"] != second["Authorization"]


def test_the_region_of_an_arn_is_used_where_the_account_names_none(store):
    """An inference profile lives in one region, and its ARN says which."""
    account = AccountSettings(id="a", bearer_token="t")
    url, _ = Signer(store).call(account, ARN.replace("us-east-1", "ap-south-1"), "converse", JSON, b"{}")
    assert url.startswith("https://bedrock-runtime.ap-south-1.amazonaws.com/")


async def test_a_profile_is_looked_up_before_the_first_call(store, aws_home):
    """`prepare` waits for the lookup, so that no call ever does."""
    write_profile(
        aws_home, "profile team", aws_access_key_id="AKIDTEAM", aws_secret_access_key="s", region="eu-north-1"
    )
    account = AccountSettings(id="c", profile="team")
    await store.prepare([account])
    url, headers = Signer(store).call(account, HAIKU, "converse", JSON, b"{}")
    assert "eu-north-1" in url
    assert "Credential=AKIDTEAM/" in headers["Authorization"]


async def test_an_account_without_credentials_is_left_alone_for_a_while_and_tried_again(
    store, aws_home, monkeypatch
):
    """No call waits for a lookup: the account says no, other accounts serve, and the lookup goes on behind."""
    monkeypatch.setattr(auth, "RETRY_INTERVAL_S", 0.05)
    account = chained("late")
    await store.prepare([account])
    with pytest.raises(AccountError) as caught:
        Signer(store).call(account, HAIKU, "converse", JSON, b"{}")
    assert caught.value.fault.action is Action.COOL
    assert caught.value.fault.error.status == 502
    assert caught.value.fault.unbilled
    write_profile(aws_home, "profile late", aws_access_key_id="AKIDLATE", aws_secret_access_key="s")
    await until(lambda: credentials_or_none(store, account), "the lookup")
    assert store.credentials(account).access_key == "AKIDLATE"


async def test_credentials_that_end_soon_are_renewed_before_calls_need_them(store, aws_home):
    """A credential process gives keys for 20 minutes, then for one: those that have ended are never signed with."""
    state = aws_home / "count"
    state.write_text("0")
    script = aws_home / "process.py"
    script.write_text(
        "import json, pathlib, datetime\n"
        f"state = pathlib.Path({str(state)!r})\n"
        "n = int(state.read_text()) + 1\n"
        "state.write_text(str(n))\n"
        "ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=1 if n == 1 else 20)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'AKID{n}', 'SecretAccessKey': 's', 'SessionToken': 't',"
        " 'Expiration': ends.isoformat()}))\n"
    )
    write_profile(aws_home, "profile p", credential_process=f"{sys.executable} {script}")
    account = chained("p")
    await store.prepare([account])
    assert store.credentials(account).access_key in ("AKID1", "AKID2")
    store._wake.set()
    await until(
        lambda: (found := credentials_or_none(store, account)) and found.access_key == "AKID2", "the lookup"
    )
    seen = int(state.read_text())
    store._wake.set()
    await until(lambda: not store._wake.is_set(), "the lookup")
    assert store.credentials(account).access_key == "AKID2"
    assert int(state.read_text()) == seen


async def test_refused_credentials_are_read_again_from_their_file(store, aws_home):
    """Keys that were rotated in the file since: AWS refuses the old ones once, and the new ones are found."""
    write_profile(aws_home, "profile r", aws_access_key_id="AKIDOLD", aws_secret_access_key="s")
    account = chained("r")
    await store.prepare([account])
    assert store.credentials(account).access_key == "AKIDOLD"
    write_profile(aws_home, "profile r", aws_access_key_id="AKIDNEW", aws_secret_access_key="s")
    assert store.spoil()
    await until(lambda: store.credentials(account).access_key == "AKIDNEW", "the lookup")


def test_no_chain_is_looked_up_for_accounts_with_keys_of_their_own(store):
    """Static keys and tokens need no thread."""
    store.credentials(KEYS)
    assert store._thread is None
    assert not store.spoil()


def test_session_tokens_do_not_reach_a_log(store, caplog):
    """At debug level botocore writes canonical requests, which hold them."""
    account = AccountSettings(
        id="a",
        region=REGION,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        session_token="CANARYTOKEN",
    )
    with caplog.at_level("DEBUG"):
        Signer(store).call(account, HAIKU, "converse", JSON, json.dumps({}).encode())
    assert "CANARYTOKEN" not in caplog.text
