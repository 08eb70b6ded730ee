import json
from typing import Any

import httpx
import pytest

from tests.fakes.caller import body
from tests.fakes.tokn import Tokn, wait_for
from tests.fakes.upstream import API_KEY

pytestmark = pytest.mark.system

PROMPT = "canary-prompt-77ac"


def post(tokn: Tokn, key: str = "", **more: Any) -> httpx.Response:
    """One plain call; fields of the request replace those of a good one."""
    script = {name: more.pop(name) for name in ("status", "cut", "words") if name in more}
    return httpx.post(
        f"{tokn.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {key or tokn.key}"},
        json=body("one", text=PROMPT, stream=more.pop("stream", False), **script) | more,
        timeout=60,
    )


def lines(tokn: Tokn, request_id: str, module: str) -> list[dict[str, Any]]:
    """What a part of the deployment has logged about one request."""
    every = (json.loads(line) for line in tokn.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in every if line.get("request_id") == request_id and line["module"] == module]


def test_a_good_call_leaves_no_line(tokn):
    """A call that went well is in the books, with its hold and its one try, and the log has not grown by it."""
    before = tokn.log.read_text()
    answer = post(tokn, words=3)
    assert answer.status_code == 200
    tokn.settled(tokn.key_id())
    request_id = answer.headers["x-request-id"]
    row = tokn.row("usage", request_id)
    assert (row["outcome"], row["hold"]["state"]) == ("ok", "settled")
    assert row["hold"]["amount_nano"] >= row["billed_nano"] > 0
    (made,) = row["tries"]
    assert (made["account"], made["status"], made["outcome"], made["reason"]) == ("main", 200, "ok", "")
    assert tokn.log.read_text() == before
    shown = tokn.run("usage", request_id)
    assert shown.returncode == 0
    assert "main" in shown.stdout


@pytest.mark.parametrize("stream", [False, True])
def test_a_failed_call_says_why(tokn, stream):
    """A failed try is one warning with whose, where, which status and the upstream's words; the books keep them.

    The caller's end of it is another, with the key and what the caller was told. Neither has a secret or the prompt.
    """
    answer = post(tokn, status=500, stream=stream)
    assert answer.status_code == 502
    request_id = answer.headers["x-request-id"]
    (line,) = wait_for(lambda: lines(tokn, request_id, "workers.tries"), 20, "a line of the worker")
    assert (line["level"], line["pool"], line["account"]) == ("warning", "openai", "main")
    assert (line["model"], line["status"], line["code"]) == ("priced-upstream", 500, "scripted")
    assert "scripted 500 for" in line["message"]
    (told,) = wait_for(lambda: lines(tokn, request_id, "edge.refusals"), 20, "a line of the edge")
    assert (told["status"], told["key_id"], told["client"]) == (502, tokn.key_id(), "127.0.0.1")
    row = wait_for(
        lambda: found if (found := tokn.row("usage", request_id))["tries"] else None, 20, "the books have it"
    )
    assert (row["outcome"], row["billed_nano"]) == ("failed", 0)
    assert [(one["account"], one["status"]) for one in row["tries"]] == [("main", 500)]
    assert row["tries"][0]["reason"].startswith("scripted: scripted 500 for")
    shown = tokn.run("usage", request_id).stdout
    for place in (json.dumps(row), tokn.log.read_text(), shown):
        assert API_KEY not in place
        assert PROMPT not in place


def test_a_cut_stream_says_why(tokn):
    """A stream that its upstream cut is a warning of the worker and one of the edge, though its status was 200."""
    answer = post(tokn, words=9, cut=4, stream=True)
    assert answer.status_code == 200
    request_id = answer.headers["x-request-id"]
    (line,) = wait_for(lambda: lines(tokn, request_id, "workers.tries"), 20, "a line of the worker")
    assert line["status"] == 200
    (told,) = wait_for(lambda: lines(tokn, request_id, "edge.refusals"), 20, "a line of the edge")
    assert told["streamed"] is True


@pytest.mark.parametrize(
    ("more", "status", "known"),
    [
        ({"key": "tokn_" + "x" * 38}, 401, False),
        ({"n": -1}, 400, True),
        ({"messages": PROMPT}, 400, True),
        ({"model": "no-such"}, 404, True),
        ({"max_tokens": 16_000, "n": 128}, 402, True),
    ],
)
def test_a_refused_call_leaves_a_line(tokn, more, status, known):
    """Each refusal is one warning with the request's id and code, and the key's id if there is one; the books say where to look."""
    key = more.pop("key", "")
    answer = post(tokn, key, **more)
    assert answer.status_code == status, answer.text
    request_id = answer.headers["x-request-id"]
    (line,) = wait_for(lambda: lines(tokn, request_id, "edge.refusals"), 20, "a line of the edge")
    assert (line["status"], line["key_id"]) == (status, tokn.key_id() if known else "")
    assert line["code"]
    assert PROMPT not in json.dumps(line)
    done = tokn.run("usage", request_id)
    assert done.returncode == 1
    assert "the log of its edge says why" in done.stderr


def test_an_account_that_is_refused_says_so_once(tokn):
    """A change of an account's state is one line, with the state before, and why."""
    answer = post(tokn, status=401)
    assert answer.status_code == 502
    change = "an upstream account's state has changed"
    (line,) = wait_for(
        lambda: [
            json.loads(one) for one in tokn.log.read_text().splitlines() if change in one and "refused" in one
        ],
        20,
        "a line",
    )
    assert (line["pool"], line["account"], line["state"]) == ("openai", "main", "refused")
    for _ in range(3):
        assert post(tokn).status_code in (429, 502)
    assert tokn.log.read_text().count('"state":"refused"') == 1
