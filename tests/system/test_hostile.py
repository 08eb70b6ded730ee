"""Owns hostile callers over real HTTP: bodies, keys and paths that must never become a 5xx or a restart."""

import asyncio
import collections
import io
import json
import random

import pytest

from tests.fakes import hostile
from tests.fakes.caller import session
from tests.fakes.tokn import CHILDREN

pytestmark = pytest.mark.system

CONNECTIONS = 8
SEED = 20261122


def check_error(status: int, headers, body: bytes) -> None:
    """An error is in OpenAI's shape: JSON, one object `error`, its four keys, a request id."""
    assert headers["content-type"].startswith("application/json")
    assert headers["x-request-id"]
    error = json.loads(body)
    assert error.keys() == {"error"}
    assert error["error"].keys() == {"message", "type", "param", "code"}
    assert isinstance(error["error"]["message"], str)
    assert error["error"]["message"]
    assert isinstance(error["error"]["type"], str)
    assert 400 <= status < 500


def pids(tokn) -> dict[str, list[int]]:
    return {name: sorted(process.pid for process in tokn.children(name)) for name in CHILDREN}


@pytest.mark.parametrize("count", [500, pytest.param(100_000, marks=pytest.mark.long)])
async def test_hostile_bodies(tokn, count):
    """Generated bodies: not one 5xx, no restart, every refusal in OpenAI's error shape."""
    before = pids(tokn)
    work = hostile.bodies(SEED, count)
    statuses: collections.Counter[int] = collections.Counter()

    async def caller(client):
        headers = {"Authorization": f"Bearer {tokn.key}", "Content-Type": "application/json"}
        for path, body in work:
            async with client.post(tokn.url + path, data=body, headers=headers) as answer:
                content = await answer.read()
                statuses[answer.status] += 1
                if answer.status != 200:
                    try:
                        check_error(answer.status, answer.headers, content)
                    except (AssertionError, ValueError, KeyError) as problem:
                        raise AssertionError((path, body[:500], answer.status, content[:500])) from problem

    async with session(CONNECTIONS) as client:
        await asyncio.gather(*(caller(client) for _ in range(CONNECTIONS)))
    assert sum(statuses.values()) == count
    assert statuses.keys() <= {200, 400, 402, 404}, statuses
    assert statuses[400] > count // 4
    assert pids(tokn) == before
    assert tokn.audit()["ok"] is True


async def test_hostile_keys(tokn):
    """A thousand strange Authorization headers are each a 401 or a 400, never anything else."""
    dice = random.Random(SEED)
    letters = "abcXYZ019_- '\";%$\\/=+.,:<>{}()\t" + "éß\x80\xff"
    found = set()
    async with session(CONNECTIONS) as client:
        for index in range(1_000):
            junk = "".join(dice.choices(letters, k=dice.randrange(60)))
            value = dice.choice(["", "Bearer ", "bearer ", "Basic ", "Bearer tokn_", "Bearer  "]) + junk
            if index % 10 == 0:
                value = "Bearer " + tokn.key[: dice.randrange(len(tokn.key))] + junk.replace("\t", "")
            if value.strip() == f"Bearer {tokn.key}":
                continue
            async with client.get(
                f"{tokn.url}/v1/models", headers={"Authorization": value.strip()}
            ) as answer:
                check_error(answer.status, answer.headers, await answer.read())
                found.add(answer.status)
    assert found <= {400, 401}
    assert 401 in found


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/index.php", 404),
        ("POST", "/", 405),
        ("GET", "/v1", 404),
        ("POST", "/v1/audio/speech", 404),
        ("GET", "/v1/embeddings", 405),
        ("GET", "/v1/chat/completions", 405),
        ("PUT", "/v1/completions", 405),
        ("POST", "/v1/models", 405),
        ("DELETE", "/v1/models/priced", 405),
        ("GET", "/v1/models/no-such", 404),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 404),
        ("POST", "//v1/chat/completions", 404),
        ("BREW", "/v1/models", 400),
    ],
)
async def test_unknown_paths_and_methods(tokn, method, path, status):
    """Paths and methods that do not exist are answered in OpenAI's error shape too."""
    headers = {"Authorization": f"Bearer {tokn.key}"}
    async with session() as client, client.request(method, tokn.url + path, headers=headers) as answer:
        assert answer.status == status
        check_error(answer.status, answer.headers, await answer.read())


async def test_large_bodies_are_cut_off_before_they_are_read(tokn):
    """A body above 32 MiB is a 413, with a length and in chunks; one just below it is served."""

    async def pieces(count: int):
        for _ in range(count):
            yield b" " * (1024 * 1024)

    headers = {"Authorization": f"Bearer {tokn.key}", "Content-Type": "application/json"}
    url = f"{tokn.url}/v1/chat/completions"
    async with session() as client:
        async with client.post(url, data=io.BytesIO(b" " * (33 * 1024 * 1024)), headers=headers) as answer:
            check_error(answer.status, answer.headers, await answer.read())
            assert answer.status == 413
        async with client.post(url, data=pieces(33), headers=headers) as answer:
            assert answer.status == 413
        large = {"role": "user", "content": "y" * (31 * 1024 * 1024)}
        fields = {"model": "priced", "messages": [large]}
        async with client.post(url, data=io.BytesIO(json.dumps(fields).encode()), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
