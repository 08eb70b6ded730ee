"""Credentials that a reload takes away: their tokens end with the last try that has them, and nothing renews them."""

import configparser
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from runtime.reload import STATUS
from runtime.settings.settings import AccountSettings, PoolSettings, SettingsError
from schemas.bus.frames import End
from tests.fakes.bedrock import ACCESS_KEY, REGION, SECRET_KEY, Bedrock, Reply, answer, stream_of
from tests.fakes.vertex import MODEL, Vertex
from tests.fakes.worker import Rig, job, model, rig, until
from workers.calls import redaction
from workers.calls.accounts import Accounts
from workers.providers import scrub as scrubbing
from workers.providers.bedrock.auth import Chain, CredentialStore
from workers.providers.openai.google_tokens import Source, Tokens
from workers.providers.scrub import FORMER_S, HIDDEN_MAX, hide, scrub

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
OTHER = PoolSettings(name="s", provider="sandbox", words_per_s=0)
CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


@pytest.fixture(autouse=True)
def _status(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("generation", "ok", "at"):
        monkeypatch.setattr(STATUS, name, getattr(STATUS, name))


@pytest.fixture
def profiles(tmp_path, monkeypatch) -> None:
    """Three profiles of AWS, `a` to `c`, and no other source of credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    parser = configparser.ConfigParser()
    for name in "abc":
        parser[f"profile {name}"] = {
            "aws_access_key_id": ACCESS_KEY + name,
            "aws_secret_access_key": SECRET_KEY,
        }
    with (tmp_path / "config").open("w") as file:
        parser.write(file)


class Google:
    """Pools at a fake Vertex, whose tokens come from a file each."""

    provider, family, upstream, kind, thread = "vertex", "openai", MODEL, Source, "google-tokens"

    def __init__(self, cloud: Vertex) -> None:
        self.cloud = cloud

    def account(self, name: str) -> AccountSettings:
        """One with a credential of its own."""
        text = self.cloud.credentials(project_id=name)
        return AccountSettings(id=name, base_url=self.cloud.base_url, auth="google", google_credentials=text)

    def hold(self) -> threading.Event:
        """The next answers wait for this."""
        self.cloud.held = threading.Event()
        return self.cloud.held

    def go_on(self) -> None:
        """Later ones do not."""
        self.cloud.held = None

    @property
    def asked(self) -> int:
        """Calls so far."""
        return len(self.cloud.seen)

    def secret(self) -> str:
        """What the first account's calls showed."""
        return self.cloud.tokens[0]


class Aws:
    """Pools at a fake Bedrock, whose keys come from a profile each."""

    provider, family, upstream, kind, thread = "bedrock", "bedrock", CLAUDE, Chain, "aws-credentials"

    def __init__(self, cloud: Bedrock) -> None:
        self.cloud = cloud
        cloud.secrets = {ACCESS_KEY + name: (SECRET_KEY, "") for name in "abc"}

    def account(self, name: str) -> AccountSettings:
        """One with a profile of its own."""
        return AccountSettings(id=name, base_url=self.cloud.base_url, region=REGION, profile=name)

    def hold(self) -> threading.Event:
        """The next answer waits for this."""
        gate = threading.Event()
        self.cloud.replies = [Reply(frames=stream_of(answer("hello")), gate=gate, held=1)]
        return gate

    def go_on(self) -> None:
        """Later ones do not."""

    @property
    def asked(self) -> int:
        """Calls so far."""
        return len(self.cloud.calls)

    def secret(self) -> str:
        """What the first account's calls are signed with."""
        return SECRET_KEY


@pytest.fixture(params=[Google, Aws])
def cloud(request, profiles) -> Iterator[Any]:
    """Both."""
    with Vertex() if request.param is Google else Bedrock() as running:
        yield request.param(running)


def alive(kind: type) -> int:
    """How many objects of a class there are in this process."""
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())


def threads(name: str) -> int:
    """How many threads of a name run."""
    return sum(thread.name == name for thread in threading.enumerate())


def pool(cloud: Any, *names: str) -> PoolSettings:
    """One pool with these accounts."""
    return PoolSettings(
        name="openai",
        provider=cloud.provider,
        family=cloud.family,
        accounts=tuple(cloud.account(name) for name in names),
    )


async def served(made: Rig, cloud: Any) -> bool:
    """Whether a call is answered."""
    return isinstance((await made.edge.call(job(BODY, upstream=cloud.upstream))).last, End)


async def test_tokens_end_with_their_account(cloud):
    """A reload takes an account's credential away: the call in flight ends well, then the token is gone, and its thread at the end.

    New calls have the new one. What was prepared and not taken ends too: after a check, and where a pool refuses.
    """
    models = (model("m", provider=cloud.provider, upstream=cloud.upstream),)
    before, running = alive(cloud.kind), threads(cloud.thread)
    async with rig((pool(cloud, "a"), OTHER), models, named=False) as made:
        assert await served(made, cloud)
        gate, asked = cloud.hold(), cloud.asked
        flying = made.edge.offer(job(BODY | {"stream": True}, upstream=cloud.upstream))
        await until(lambda: cloud.asked > asked, "the call's upstream")
        await made.reload(pool(cloud, "b"), OTHER, models=models)
        cloud.go_on()
        assert await served(made, cloud)
        assert alive(cloud.kind) == before + 2, "the call in flight has its own still"
        gate.set()
        assert isinstance((await flying.end()).last, End)
        await until(lambda: alive(cloud.kind) == before + 1, "the end of what the call had")
        assert scrub(f"no {cloud.secret()}!") == "no [redacted]!"
        settings = msgspec.structs.replace(made.settings, pools=(pool(cloud, "b", "c"), OTHER), models=models)
        await made.live.prepare(7, settings)
        assert alive(cloud.kind) == before + 2
        await made.live.drop(7, ok=None)
        assert alive(cloud.kind) == before + 1
        late = msgspec.structs.replace(pool(cloud, "c"), name="other")
        wrong = msgspec.structs.replace(pool(cloud, "c"), name="wrong", family="none")
        refused = msgspec.structs.replace(settings, pools=(pool(cloud, "b"), late, wrong))
        with pytest.raises(SettingsError, match="not known"):
            await made.live.prepare(8, refused)
        await until(lambda: alive(cloud.kind) == before + 1, "the end of what the refused settings had")
        assert await served(made, cloud)
        await made.reload(OTHER, models=models)
        await until(lambda: alive(cloud.kind) == before, "the end of the pool's last")
        await until(lambda: threads(cloud.thread) == running, "the end of the thread")


async def test_a_mint_under_way_brings_nothing_back():
    """A token that comes after the end of its credential is kept nowhere, and told to nobody."""
    with Vertex() as cloud:
        tokens = Tokens()
        one = AccountSettings(id="a", auth="google", google_credentials=cloud.credentials())
        source = tokens._source(one)
        cloud.hold_mints()
        source.due = 0.0
        tokens._wake.set()
        await until(lambda: cloud.minting, "a mint")
        tokens.keep(())
        cloud.release_mints()
        await until(lambda: tokens._thread is None, "the end of the thread")
        assert source.current() == ""
        assert scrub(f"no {cloud.tokens[0]}!") == "no [redacted]!"
        await tokens.prepare([one])
        assert tokens.token(one) in cloud.tokens, "it may come back"
        tokens.close()


async def test_a_chain_that_comes_back_is_looked_up_again(profiles):
    """Profiles that accounts with keys of their own name are none of theirs; one that comes back is another object."""
    store = CredentialStore()
    one = AccountSettings(id="a", region=REGION, profile="a")
    keyed = AccountSettings(id="k", region=REGION, profile="a", access_key_id="x", secret_access_key="y")
    await store.prepare([one])
    chain = store.chain(one)
    store.keep([keyed])
    assert (chain.current(), store.spoil()) == (None, False)
    await store.prepare([one])
    assert store.chain(one) is not chain
    assert store.credentials(one).access_key == ACCESS_KEY + "a"
    store.keep([one])
    assert store.chain(one).current() is not None
    store.close()


def test_secrets_of_before_are_redacted_for_a_while(monkeypatch):
    """An account's former key, and that of an account that is gone, are taken out of messages for FORMER_S, and forgotten then."""
    now = [1_000.0]
    monkeypatch.setattr(redaction.time, "monotonic", lambda: now[0])
    a, b = (AccountSettings(id=name, api_key=f"the-key-of-{name}") for name in "ab")
    accounts = Accounts([a, b])
    accounts.adopt([msgspec.structs.replace(a, api_key="another")])
    (left,) = accounts.all
    told = "the-key-of-a the-key-of-b another"
    assert left.without_secrets(told) == "[redacted] [redacted] [redacted]"
    now[0] += FORMER_S - 1
    left.settle(now[0])
    accounts.adopt([msgspec.structs.replace(a, api_key="a third")])
    (left,) = accounts.all
    assert left.without_secrets(told) == "[redacted] [redacted] [redacted]"
    now[0] += 2
    left.settle(now[0])
    assert left.without_secrets(told) == "the-key-of-a the-key-of-b [redacted]"


def test_what_is_hidden_for_a_time_is_forgotten(monkeypatch):
    """So are the oldest of too many; what is too short to be a secret hides nothing."""
    now = [time.monotonic()]
    monkeypatch.setattr(scrubbing, "_hidden", {})
    monkeypatch.setattr(scrubbing.time, "monotonic", lambda: now[0])
    hide("first word", 10)
    hide("the")
    assert scrub("first word of the text") == "[redacted] of the text"
    now[0] += 11
    assert scrub("first word") == "first word"
    for number in range(HIDDEN_MAX + 1):
        hide(f"word {number:03}")
    assert scrub("word 000, word 001") == "word 000, [redacted]"
