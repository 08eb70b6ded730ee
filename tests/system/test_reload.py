"""Owns reloads of a running `tokn up`: what changes while calls run, and that nothing else does."""

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.fakes import caller
from tests.fakes.tokn import CHILDREN, Tokn, wait_for
from tests.fakes.upstream import API_KEY, SCRIPTED, Upstream

pytestmark = pytest.mark.system

SECOND_KEY = "sk-upstream-second-0123456789abcdefghij"
THIRD_KEY = "sk-upstream-third-0123456789abcdefghijk"
MODEL = """
[[models]]
id = "{name}"
pool = "{pool}"
upstream = "{name}-upstream"
input = {price}
output = 10
context = 128000
max_output = 16384
"""


class Configuration:
    """The file of the deployment, in parts that tests change."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.accounts = {"main": API_KEY}
        self.price = "2.5"
        self.more = ""

    def text(self) -> str:
        """The file."""
        return (
            self.more
            + self.pool("openai", self.accounts)
            + MODEL.format(name="priced", pool="openai", price=self.price)
        )

    def pool(self, name: str, accounts: dict[str, str]) -> str:
        """A pool's tables."""
        rows = "".join(
            f'[[pools.{name}.accounts]]\nid = "{account}"\napi_key = "{key}"\nbase_url = "{self.base_url}"\n'
            for account, key in accounts.items()
        )
        return f'[pools.{name}]\nprovider = "openai"\n{SCRIPTED}{rows}'


@pytest.fixture(scope="module")
def upstream():
    """The provider of this module."""
    with Upstream() as running:
        running.keys = {API_KEY, SECOND_KEY}
        yield running


@pytest.fixture(scope="module")
def file(upstream):
    """What the deployment's file has, from test to test."""
    return Configuration(upstream.base_url)


@pytest.fixture(scope="module")
def tokn(file, tmp_path_factory):
    """One `tokn up` for the tests of this module."""
    with Tokn(tmp_path_factory.mktemp("reload") / "data", file.text()) as running:
        yield running


def pids(tokn: Tokn) -> dict[str, list[int]]:
    """The processes of the deployment, by name."""
    assert tokn.process.poll() is None
    return {name: [child.pid for child in tokn.children(name)] for name in CHILDREN}


def reload(tokn: Tokn, text: str, *options: str):
    """The file's new text, and what `tokn reload` says of it."""
    tokn.config.write_text(text)
    return tokn.run("reload", *options)


def config_metrics(tokn: Tokn) -> dict[str, list[float]]:
    """The generation and the outcome of the newest reload, as edge, ledger and worker show them."""
    ports = [child["metrics_port"] for child in json.loads((tokn.data / "run.json").read_text())["children"]]
    addresses = [tokn.url, *(f"http://127.0.0.1:{port}" for port in ports if port)]
    texts = [httpx.get(f"{address}/metrics", timeout=60).text for address in addresses]
    found = {}
    for name in ("generation", "last_reload_ok", "last_reload_seconds"):
        values = [re.findall(rf"^tokn_config_{name} (\S+)$", text, re.MULTILINE) for text in texts]
        found[name] = [float(value) for (value,) in values]
    return found


def billed_nano(tokn: Tokn, request_id: str) -> int:
    """What a call was billed, once it is booked."""
    rows = wait_for(
        lambda: [row for row in tokn.rows("usage", "--limit", "100000") if row["request_id"] == request_id],
        20,
        "the bill",
    )
    return int(rows[0]["billed_nano"])


@contextlib.asynccontextmanager
async def load(tokn: Tokn, client, callers: int = 3) -> AsyncIterator[list[caller.Seen]]:
    """Some callers with plain calls and streams, one after the other, for as long as the block lasts."""
    seen: list[caller.Seen] = []
    over = asyncio.Event()

    async def calls(number: int) -> None:
        while not over.is_set():
            request = caller.body(f"load{number}", stream=bool(number % 2), words=20, pace_s=0.01)
            seen.append(await caller.call(client, tokn.url, tokn.key, request))

    running = [asyncio.create_task(calls(number)) for number in range(callers)]
    try:
        yield seen
    finally:
        over.set()
        await asyncio.gather(*running)


async def one(tokn: Tokn, client, model: str = "priced", **script) -> caller.Seen:
    """One plain call."""
    request = caller.body("one", stream=False, prompt=7, words=1, **script) | {"model": model}
    return await caller.call(client, tokn.url, tokn.key, request)


async def test_closed_terminal_ends_nothing(tokn, upstream):
    """SIGHUP to `tokn up` and to each child: all live on, new calls are served, and a stream in flight runs to its end."""
    before = pids(tokn)
    async with caller.session() as client:
        stream = asyncio.create_task(
            caller.call(client, tokn.url, tokn.key, caller.body("held", words=9, gate=True))
        )
        await asyncio.to_thread(wait_for, lambda: upstream.waiting, 20, "a call at the gate")
        for name in ("up", *CHILDREN):
            tokn.kill(name, signal.SIGHUP)
        plain = await caller.call(client, tokn.url, tokn.key, caller.body("plain", stream=False))
        upstream.open_gate()
        seen = await stream
    assert plain.complete
    assert seen.complete
    assert seen.words == 9
    assert pids(tokn) == before


async def test_changes_under_load_fail_no_call(tokn, file, upstream):
    """A price, an account's key, a new pool and a removed account, each by a reload: no call fails, and each holds at once."""
    before = pids(tokn)

    async def reloaded() -> str:
        done = await asyncio.to_thread(reload, tokn, file.text())
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    async with caller.session() as client, load(tokn, client) as seen:
        cheap = await one(tokn, client)
        file.price = "25"
        assert "[[models]] priced: prices changed" in await reloaded()
        dear = await one(tokn, client)

        file.accounts = {"main": SECOND_KEY, "spare": SECOND_KEY}
        said = await reloaded()
        assert "[pools.openai.accounts] main api_key: changed" in said
        assert "[pools.openai.accounts] spare: new" in said
        assert SECOND_KEY not in said
        upstream.keys = {SECOND_KEY}
        rotated = [await one(tokn, client) for _ in range(4)]

        file.more = file.pool("second", {"only": SECOND_KEY}) + "\n"
        text = file.text() + MODEL.format(name="other", pool="second", price="1")
        file.text = lambda: text  # type: ignore[method-assign]  the rest of the tests has it so
        assert "[pools.second]: new" in await reloaded()
        new_pool = await one(tokn, client, "other")

        held = asyncio.create_task(
            caller.call(client, tokn.url, tokn.key, caller.body("held", words=9, gate=True))
        )
        await asyncio.to_thread(wait_for, lambda: upstream.waiting or held.done(), 20, "a call at the gate")
        assert not held.done(), held.result().error
        text = text.replace(
            f'[[pools.openai.accounts]]\nid = "main"\napi_key = "{SECOND_KEY}"\nbase_url = "{upstream.base_url}"\n',
            "",
        )
        assert "[pools.openai.accounts] main: gone" in await reloaded()
        removed = [await one(tokn, client) for _ in range(4)]
        upstream.open_gate()
        in_flight = await held
    for call in (cheap, dear, *rotated, new_pool, *removed, in_flight):
        assert call.complete, call
    assert seen
    assert [call for call in seen if not call.complete] == []
    assert billed_nano(tokn, cheap.request_id) == 7 * 1_500 + 6_000
    assert billed_nano(tokn, dear.request_id) == 7 * 15_000 + 6_000
    (accounts,) = (pool["accounts"] for pool in tokn.rows("pools") if pool["name"] == "openai")
    assert {account["id"]: account["state"] for account in accounts} == {"main": "unknown", "spare": "ok"}
    assert pids(tokn) == before
    assert tokn.audit()["ok"]


@pytest.mark.parametrize(
    ("callers", "reloads"), [(3, 2), pytest.param(20, 40, marks=pytest.mark.long)], ids=["few", "many"]
)
async def test_reload_after_reload_fails_no_call(tokn, file, upstream, callers, reloads):
    """Prices, room and credentials that change again and again, as fast as they can: no call fails, and the books balance."""
    texts = [
        file.text()
        .replace("input = 25", "input = 2.5")
        .replace('id = "spare"', 'id = "spare"\nmax_inflight = 99'),
        file.text().replace(SECOND_KEY, THIRD_KEY),
    ]
    async with caller.session() as client, load(tokn, client, callers) as seen:
        upstream.keys = {SECOND_KEY, THIRD_KEY}
        for number in range(reloads):
            done = await asyncio.to_thread(reload, tokn, texts[number % 2])
            assert done.returncode == 0, done.stderr
            assert "Reloaded" in done.stdout
        done = await asyncio.to_thread(reload, tokn, file.text())
        assert done.returncode == 0, done.stderr
    upstream.keys = {SECOND_KEY}
    assert len(seen) > reloads
    assert [call for call in seen if not call.complete] == []
    assert tokn.audit()["ok"]


async def test_broken_file_changes_nothing(tokn, file):
    """What is wrong in one place is exit code 3 and a line that names it: all goes on as before, and metrics show it."""
    before = config_metrics(tokn)
    assert before["last_reload_ok"] == [1.0] * 3
    assert len(set(before["generation"])) == 1
    for broken, named in (
        (file.text() + "[[models", "is not TOML"),
        (file.text().replace("input = 25", "input = -1"), "[[models]] input"),
        (file.text() + '[[pools.second.accounts]]\nid = "x"\napi_key = "file:nowhere"\n', "nowhere"),
        # Only a ledger can say of this one that it has no price.
        (
            file.text() + '[[models]]\nid = "no-such"\npool = "openai"\ncontext = 10\nmax_output = 10\n',
            "'no-such'",
        ),
    ):
        done = reload(tokn, broken)
        assert done.returncode == 3, done.stdout
        assert named in done.stderr
        assert str(tokn.config) in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    after = config_metrics(tokn)
    assert after["last_reload_ok"] == [0.0] * 3
    assert after["generation"] == before["generation"]
    async with caller.session() as client:
        assert (await one(tokn, client)).complete
    assert reload(tokn, file.text()).stdout == "Nothing differs.\n"
    assert config_metrics(tokn)["last_reload_ok"] == [1.0] * 3


async def test_check_changes_nothing_and_shows_no_secret(tokn, file):
    """`tokn reload --check` says what differs, what needs a restart, and no secret; then all is as before."""
    before = config_metrics(tokn)
    made = json.loads((tokn.data / "secrets.json").read_text())["pepper"]
    other = f'[edge]\nport = 1\nkeep_items = false\nfull_wait_s = 3.5\n[ledger]\npepper = ["a new pepper", "{made}"]\n[pricing]\nrate = 0.5\n'
    done = reload(tokn, (other + file.text()).replace(SECOND_KEY, THIRD_KEY), "--check")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "[edge] full_wait_s: 2.0 -> 3.5" in lines
    assert "[pricing] rate: 0.60 -> 0.5" in lines
    assert "[ledger] pepper: changed" in lines
    assert "[edge] keep_items: True -> False: needs a restart of edge" in lines
    assert "[pools.openai.accounts] spare api_key: changed" in lines
    assert not re.search(f"sk-upstream|a new pepper|{made}", done.stdout)
    alone = reload(tokn, '[ledger]\npepper = "a new pepper"\n' + file.text(), "--check")
    assert alone.returncode == 3
    assert "[ledger] pepper: the keys of these books were hashed with another one" in alone.stderr
    assert config_metrics(tokn) == before
    assert json.loads(reload(tokn, file.text(), "--check", "--json").stdout) == {
        "checked": True,
        "generation": int(before["generation"][0]),
        "changes": [],
        "error": "",
    }
    async with caller.session() as client:
        assert (await one(tokn, client)).complete


def test_hangup_is_a_reload(tokn, file):
    """SIGHUP has `tokn up` take its file, as `tokn reload` does; a wrong one is a line of the log that names it."""
    generation = config_metrics(tokn)["generation"][0]
    tokn.config.write_text("[edge]\nfull_wait_s = 3\n" + file.text())
    tokn.kill("up", signal.SIGHUP)
    wait_for(lambda: min(config_metrics(tokn)["generation"]) > generation, 30, "a reload")
    tokn.config.write_text("[edge]\nfull_wait_s = -3\n" + file.text())
    tokn.kill("up", signal.SIGHUP)
    wait_for(lambda: config_metrics(tokn)["last_reload_ok"] == [0.0] * 3, 30, "a refusal")
    assert "nothing has changed" in tokn.log.read_text()
    assert "[edge] full_wait_s" in tokn.log.read_text()
    assert reload(tokn, file.text()).returncode == 0


def test_credit_of_an_account_is_not_set_again(tokn, file):
    """A first `credit_usd` is taken; another figure later is refused whole, with the command that adds to it."""
    limited = file.text().replace('id = "only"\n', 'id = "only"\ncredit_usd = 10\n')
    assert reload(tokn, limited).returncode == 0
    wait_for(
        lambda: [
            account
            for pool in tokn.rows("pools")
            for account in pool.get("accounts", ())
            if account["credit_nano"] == 10_000_000_000
        ],
        20,
        "the credit",
    )
    done = reload(tokn, limited.replace("credit_usd = 10", "credit_usd = 20"))
    assert done.returncode == 3
    assert "tokn pool credit second only USD" in done.stderr
    assert reload(tokn, file.text()).returncode == 0


@pytest.mark.parametrize("name", ["ledger", "worker", "edge"])
def test_killed_child_comes_back_with_the_newest_settings(tokn, name):
    """A child that is killed is started again with what was reloaded last, not with what `tokn up` began with."""
    generation = config_metrics(tokn)["generation"][0]
    killed = tokn.kill(name)
    wait_for(lambda: [child for child in tokn.children(name) if child.pid != killed.pid], 20, f"a new {name}")

    def status(model: str) -> int:
        request = caller.body("after", stream=False) | {"model": model}
        headers = {"Authorization": f"Bearer {tokn.key}"}
        try:
            answer = httpx.post(f"{tokn.url}/v1/chat/completions", headers=headers, json=request, timeout=60)
        except httpx.TransportError:
            return 0
        return answer.status_code

    for model in ("priced", "other"):
        wait_for(lambda model=model: status(model) == 200, 30, f"an answer of {model}")
    assert config_metrics(tokn)["generation"] == [generation] * 3


async def test_secret_in_a_file_is_read_again_after_a_refusal(tokn, file, upstream):
    """A provider that refuses a key whose file has another by now gets that one, within the same call."""
    secret = tokn.data.parent / "key"
    secret.write_text(SECOND_KEY + "\n")
    assert reload(tokn, file.text().replace(f'"{SECOND_KEY}"', '"file:key"')).returncode == 0
    async with caller.session() as client:
        assert (await one(tokn, client)).complete
        secret.write_text(THIRD_KEY)
        upstream.keys = {THIRD_KEY}
        for model in ("priced", "other"):
            assert (await one(tokn, client, model)).complete

    def states() -> set[str]:
        return {
            row["state"] for pool in tokn.rows("pools") for row in pool["accounts"] if row["id"] != "main"
        }

    await asyncio.to_thread(wait_for, lambda: states() == {"ok"}, 20, "both accounts are in use")


async def test_watched_files_reload_by_themselves(tokn, file, upstream):
    """With `[reload] watch` a swap of a link to a secret, and an edit of the file, are reloads."""
    folder = tokn.data.parent
    for name, key in (("one", THIRD_KEY), ("two", SECOND_KEY)):
        (folder / name).mkdir()
        (folder / name / "key").write_text(key)
    (folder / "current").symlink_to("one")
    watched = "[reload]\nwatch = true\n" + file.text().replace(f'"{SECOND_KEY}"', '"file:current/key"')
    assert reload(tokn, watched).returncode == 0
    generation = config_metrics(tokn)["generation"][0]

    def generations() -> set[float]:
        return set(config_metrics(tokn)["generation"])

    (folder / "next").symlink_to("two")
    (folder / "next").rename(folder / "current")
    await asyncio.to_thread(wait_for, lambda: min(generations()) > generation, 30, "a reload by itself")
    upstream.keys = {SECOND_KEY}
    async with caller.session() as client:
        assert (await one(tokn, client)).complete
        generation = min(generations())
        tokn.config.write_text(watched.replace("input = 25", "input = 2.5"))
        await asyncio.to_thread(wait_for, lambda: min(generations()) > generation, 30, "another")
        call = await one(tokn, client)
    assert billed_nano(tokn, call.request_id) == 7 * 1_500 + 6_000
    assert tokn.audit()["ok"]
