"""Owns the hunt for canaries: keys, upstream credentials and prompts, in everything a deployment leaves or answers."""

import contextlib
import hashlib

import httpx
import psutil
import pytest

from tests.fakes.caller import body
from tests.fakes.tokn import CHILDREN, StartedTokn, Tokn, process_name
from tests.fakes.upstream import API_KEY, Upstream, pool_toml

pytestmark = pytest.mark.system

PROMPT = "canary-prompt-5b1f"
ANSWER = "w0 w1 w2"
VARIABLE_KEY = "TOKN_TEST_UPSTREAM_KEY"


@pytest.fixture(scope="module")
def remains(tmp_path_factory):
    """A deployment that served every kind of call and was stopped: its folder, secrets, answers and metrics."""
    folder = tmp_path_factory.mktemp("secrets")
    with Upstream() as upstream:
        config = pool_toml(upstream.base_url).replace(f'"{API_KEY}"', f'"env:{VARIABLE_KEY}"')
        with StartedTokn(folder / "data", config, **{VARIABLE_KEY: API_KEY}) as tokn:
            environments = child_environments(tokn)
            answers = [tokn.lines, provoke(tokn)]
            metrics = httpx.get(f"{tokn.url}/metrics", timeout=60).text
            key = tokn.key
            audit = tokn.audit()
            tokn.stop()
    assert audit["ok"] is True
    return {
        "folder": folder,
        "key": key,
        "answers": "\n".join(answers[1]),
        "metrics": metrics,
        "environments": environments,
    }


def child_environments(tokn: Tokn) -> dict[str, str]:
    """The environment of each child as the process list shows it."""
    found = {}
    for process in tokn.tree()[1:]:
        with contextlib.suppress(psutil.NoSuchProcess):
            found[process_name(process)] = str(process.environ())
    return found


def provoke(tokn: Tokn) -> list[str]:
    """Good and failing calls of every kind; the bodies and heads of the failing ones."""
    answers = []
    scripts = [{}, {"status": 401}, {"status": 400}, {"status": 500}, {"status": 429}, {"status": 404}]
    requests = [body("good", text=PROMPT, words=3) | {"stream": False}]
    requests += [
        body("bad", text=PROMPT, stream=stream, **script) for script in scripts for stream in (False, True)
    ]
    requests += [body("cut", text=PROMPT, words=9, cut=4)]
    requests += [
        body("odd", text=PROMPT) | more for more in ({"n": -1}, {"model": "no-such"}, {"messages": PROMPT})
    ]
    with httpx.Client(base_url=tokn.url, timeout=60) as client:
        for key in (tokn.key, tokn.key[:-1] + "!", tokn.key.replace("tokn_", "tokn_x")[:-1]):
            for request in requests:
                answer = client.post(
                    "/v1/chat/completions", json=request, headers={"Authorization": f"Bearer {key}"}
                )
                if answer.status_code != 200 or '"error"' in answer.text:
                    answers.append(f"{answer.headers}\n{answer.text}")
    return answers


def files(folder) -> dict[str, bytes]:
    """Every file that the deployment wrote, but the configuration that the test wrote."""
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".toml"
    }


def test_canaries_are_nowhere(remains):
    """Caller key, upstream key, prompts and answers are in no log, file, stream, table, metric or error body."""
    places = files(remains["folder"]) | {
        "answers": remains["answers"].encode(),
        "metrics": remains["metrics"].encode(),
    }
    assert len(places) > 3
    for place, content in places.items():
        for canary in (remains["key"], API_KEY, PROMPT, ANSWER):
            assert canary.encode() not in content, f"{canary} in {place}"


def test_a_stored_hash_is_not_a_credential(remains):
    """What the ledger stores of a key is not even the SHA-256 that travels on the bus."""
    digest = hashlib.sha256(remains["key"].encode())
    for content in files(remains["folder"]).values():
        assert digest.digest() not in content
        assert digest.hexdigest().encode() not in content


def test_no_child_has_an_upstream_credential_in_its_environment(remains):
    """Workers are handed their credentials privately; no process shows one in its environment."""
    environments = remains["environments"]
    assert set(CHILDREN) <= environments.keys()
    for name, text in environments.items():
        assert API_KEY not in text, name
