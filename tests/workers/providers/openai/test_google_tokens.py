"""Google's access tokens: minted from a signed grant, renewed in time, kept while they live, and told to nobody."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.oauth2.credentials
import pytest

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import AccountState
from tests.fakes.vertex import Vertex, service_keys
from tests.fakes.worker import job, model
from workers.calls.accounts import Account
from workers.providers.base import About, AccountError, Action
from workers.providers.openai import google_tokens
from workers.providers.openai.family import OpenAI
from workers.providers.openai.google_tokens import ENDED_S, RENEW_BEFORE_S, Source, Tokens
from workers.providers.scrub import scrub

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def cloud() -> Iterator[Vertex]:
    """A token endpoint."""
    with Vertex() as running:
        yield running


@pytest.fixture
def tokens() -> Iterator[Tokens]:
    """A pool's tokens, whose thread ends with the test."""
    made = Tokens()
    yield made
    made.close()


def account(text: str, name: str = "a") -> AccountSettings:
    """An account of Vertex AI with this credential."""
    return AccountSettings(id=name, base_url="http://up/v1", auth="google", google_credentials=text)


def until(holds: Callable[[], Any]) -> None:
    """Waits for what another thread does."""
    end, pause = time.monotonic() + 60, threading.Event()
    while not holds():
        assert time.monotonic() < end
        pause.wait(0.01)


def refusal(tokens: Tokens, one: AccountSettings) -> AccountError:
    """Why there is no token."""
    with pytest.raises(AccountError) as caught:
        tokens.token(one)
    return caught.value


async def test_a_grant_that_the_key_signed_gets_a_token(cloud, tokens, tmp_path):
    """The key file's text, or its path: the endpoint verifies signature, audience, scope and time."""
    path = tmp_path / "key.json"
    path.write_text(cloud.credentials())
    both = [account(cloud.credentials()), account(str(path), "b")]
    await tokens.prepare(both)
    assert [tokens.token(one) for one in both] == cloud.tokens
    assert len(set(cloud.tokens)) == 2


async def test_one_credential_is_minted_once(cloud, tokens):
    """Accounts that share it, and calls that come meanwhile, share the token."""
    one, other = account(cloud.credentials()), account(cloud.credentials(), "b")
    await tokens.prepare([one, other])
    assert {tokens.token(each) for each in (one, other, one)} == set(cloud.tokens)
    assert len(cloud.tokens) == 1


async def test_one_mint_at_a_time(cloud, tokens):
    """However many ask, and however many credentials there are; no call waits for it."""
    several = [account(cloud.credentials(project_id=f"p{number}"), f"a{number}") for number in range(4)]
    cloud.hold_mints()
    waiting = asyncio.create_task(tokens.prepare(several))
    await asyncio.to_thread(until, lambda: cloud.minting)
    started = time.monotonic()
    for one in several * 50:
        assert "not there yet" in refusal(tokens, one).fault.reason
    assert time.monotonic() - started < google_tokens.MINT_MAX_S  # as long as one of them would have waited
    cloud.release_mints()
    await waiting
    assert cloud.minting_most == 1
    assert len(cloud.tokens) == len(several)


@pytest.mark.parametrize(("lives_s", "before_s"), [(3_600, RENEW_BEFORE_S), (100, 50.0)])
def test_a_token_is_renewed_before_it_ends(cloud, lives_s, before_s):
    """Five minutes before, or at half its time where that is less."""
    cloud.lives_s = lives_s
    source = Source(cloud.credentials())
    before = time.time()
    source.mint()
    assert source.current() == cloud.tokens[0]
    assert before + lives_s - before_s - 2 <= source.due <= time.time() + lives_s - before_s


def test_a_token_that_ends_opens_no_call(cloud):
    """One that ends within seconds is none: the call might be refused on its way."""
    cloud.lives_s = int(ENDED_S) - 1
    source = Source(cloud.credentials())
    source.mint()
    assert (len(cloud.tokens), source.current()) == (1, "")


async def test_the_thread_renews(cloud, tokens):
    """A token that is due is minted anew without anybody asking, and the new one is shown from then on."""
    one = account(cloud.credentials())
    await tokens.prepare([one])
    first = tokens.token(one)
    tokens._source(one).due = 0.0
    tokens._wake.set()
    await asyncio.to_thread(until, lambda: tokens.token(one) != first)
    assert cloud.tokens == [first, tokens.token(one)]


async def test_a_failed_renewal_keeps_the_token_while_it_lives(cloud, tokens):
    """The endpoint's trouble is nobody's until the token ends; then it is the account's, with the endpoint's code."""
    one = account(cloud.credentials())
    await tokens.prepare([one])
    first = tokens.token(one)
    cloud.refuses = "invalid_grant"
    source = tokens._source(one)
    source.mint()
    assert (tokens.token(one), source.why_not) == (first, "invalid_grant")
    assert source.due < time.time() + 10
    source._ends = time.time()
    assert refusal(tokens, one).fault.reason.endswith("invalid_grant")


BROKEN = [
    ("", "cannot be read"),
    ("/nowhere/key.json", "No such file"),
    ("{", "not JSON"),
    ('{"type": "external_account"}', "neither a service account's nor a user's"),
    ('{"type": "service_account"}', "damaged"),
    (
        '{"type": "service_account", "client_email": "e", "token_uri": "http://x", "private_key": "canary"}',
        "damaged",
    ),
    ("[" * 100_000, "File name too long"),
]


@pytest.mark.parametrize(("text", "words"), BROKEN, ids=[words for _, words in BROKEN[:-1]] + ["deep"])
async def test_a_mint_that_fails_is_a_state_of_the_account(tokens, capsys, text, words):
    """A credential that is none: the account is refused with a reason, another may serve, and nothing is told of it."""
    one = account(text)
    await tokens.prepare([one])
    fault = refusal(tokens, one).fault
    assert (fault.action, fault.about, fault.sure) == (Action.REFUSED, About.ACCOUNT, True)
    assert words in fault.reason
    assert words not in fault.error.message
    held = Account(one)
    held.failed(fault, "m", "key", time.monotonic())
    told = held.beat(time.monotonic())
    assert (told.state, told.reason) == (AccountState.REFUSED, fault.reason)
    said = capsys.readouterr()
    assert "canary" not in said.out + said.err + fault.reason


async def test_what_the_endpoint_says_is_told_to_nobody(cloud, tokens, capsys):
    """An error's words may hold anything: its code alone is shown."""
    cloud.refuses = "unauthorized_client"
    one = account(cloud.credentials())
    await tokens.prepare([one])
    fault = refusal(tokens, one).fault
    said = capsys.readouterr()
    for text in (said.out, said.err, fault.reason, fault.error.message):
        assert "canary" not in text
        assert service_keys()[0][40:60] not in text
    assert fault.reason.endswith("unauthorized_client")


def test_a_mint_has_a_deadline(cloud, monkeypatch):
    """An endpoint that never answers costs no more than that, retries and all."""
    monkeypatch.setattr(google_tokens, "MINT_MAX_S", 0.5)
    cloud.hold_mints()
    source = Source(cloud.credentials())
    started = time.monotonic()
    source.mint()
    assert time.monotonic() - started < 5
    assert (source.current(), source.why_not) == ("", "the token endpoint cannot be reached")
    cloud.release_mints()


async def test_a_worker_starts_without_a_token(cloud, tokens, monkeypatch):
    """Its first tokens are waited for, but not for ever."""
    monkeypatch.setattr(google_tokens, "PREPARE_MAX_S", 0.1)
    cloud.hold_mints()
    await tokens.prepare([account(cloud.credentials())])
    cloud.release_mints()


async def test_a_refused_token_is_minted_anew(cloud, tokens):
    """A 401 leaves the account alone for a moment, not for a minute, and has a new token made."""
    family = OpenAI()
    one = account(cloud.credentials())
    await family.prepare([one])
    assert family._tokens is not None
    exchange = family.open(job(ASKED), model(), {})[0]
    first = exchange.request(one).headers["Authorization"]
    assert first == f"Bearer {cloud.tokens[0]}"
    family._tokens._source(one)._tried = 0.0
    fault = family.fault(401, {}, b'{"error":{"code":401,"message":"no","status":"UNAUTHENTICATED"}}')
    assert (fault.action, fault.about) == (Action.COOL, About.ACCOUNT)
    await asyncio.to_thread(until, lambda: len(cloud.tokens) == 2)
    await asyncio.to_thread(until, lambda: exchange.request(one).headers["Authorization"] != first)
    family._tokens.close()


async def test_a_minted_token_is_scrubbed_like_a_key(cloud, tokens):
    """By its form, and by heart whatever its form is."""
    await tokens.prepare([account(cloud.credentials())])
    (minted,) = cloud.tokens
    for text in (
        f"Invalid {minted}!",
        "Invalid ya29.a0AfB_byCabc-def_0123456789!",
        "Invalid eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln!",
    ):
        assert scrub(text) == "Invalid [redacted]!"
    google_tokens.hide("of-another/form 0123")
    assert scrub("Invalid of-another/form 0123!") == "Invalid [redacted]!"


def test_the_library_is_loaded_by_a_pool_that_needs_it_alone():
    """Every other worker is spared its 35 MB."""
    code = (
        "import asyncio, sys\n"
        "from runtime.settings.settings import AccountSettings\n"
        "from workers.providers.openai.family import OpenAI\n"
        "import workers.app\n"
        "asyncio.run(OpenAI().prepare([AccountSettings(id='a', api_key='k')]))\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('google', 'cryptography', 'requests')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[4], timeout=60)


def test_a_token_is_minted_with_what_services_install(cloud):
    """The library of HTTP that google-auth likes best comes with the tests alone: nothing on the way to a token loads it."""
    code = (
        "import sys\n"
        "sys.modules['requests'] = None\n"
        "from workers.providers.openai.google_tokens import Source\n"
        "source = Source(sys.stdin.read())\n"
        "source.mint()\n"
        "assert source.current(), source.why_not\n"
    )
    root = Path(__file__).parents[4]
    text = cloud.credentials()
    subprocess.run([sys.executable, "-c", code], input=text, text=True, check=True, cwd=root, timeout=60)
    assert len(cloud.tokens) == 1


def test_a_users_credentials_are_taken(cloud, monkeypatch):
    """A file that gcloud wrote for a person: the endpoint gets its refresh token, and this one knows no such grant."""
    fields = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    monkeypatch.setattr(google.oauth2.credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", cloud.token_uri)
    source = Source(json.dumps(fields))
    source.mint()
    assert source.why_not == "invalid_grant"
