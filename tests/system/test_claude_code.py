"""Owns Claude Code itself against every family: a file made with tools, parallel calls, a failure, and an empty balance."""

import pytest

from schemas.money.pricing import TokenUsage
from tests.fakes.claude_code import ask
from tests.fakes.dialects import Answer
from tests.fakes.families import PROVIDERS, by_hand, config, stages
from tests.fakes.tokn import Tokn

pytestmark = [pytest.mark.system, pytest.mark.long]

USAGE = TokenUsage(input=100, output=20)
DONE = Answer(("Done ", "now."), USAGE)
SANDBOX = '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\nwords_per_s = 0\n'


@pytest.fixture(scope="module")
def played():
    """One fake of each provider."""
    with stages() as made:
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with all four families and the sandbox."""
    with Tokn(tmp_path_factory.mktemp("claude") / "data", config(played) + SANDBOX) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_makes_a_file(played, tokn, tmp_path, provider):
    """Two calls at once, their results, a report: two calls of the provider, each billed to the nano."""
    (stage,) = played[provider]
    commands = (f"echo hi > {tmp_path}/made.txt", "echo ho")
    calls = tuple(
        (f"call_{at}", "Bash", {"command": command, "description": "says it"})
        for at, command in enumerate(commands)
    )
    stage.play(Answer(("Running.",), USAGE, calls))
    stage.play(DONE)
    key = tokn.row("key", "create", "--name", f"maker-{provider}", "--balance", "5")
    said = ask(tokn.url, key["key"], provider, "make the file", tmp_path)
    assert (said["is_error"], said["result"]) == (False, DONE.text)
    assert (tmp_path / "made.txt").read_text() == "hi\n"
    tokn.settled(key["id"])
    assert [row["billed_nano"] for row in tokn.rows("usage", "--key", key["id"])] == [by_hand(USAGE)] * 2


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_asks_again_after_a_failure(played, tokn, tmp_path, provider):
    """A stream that fails halfway is asked for once more, and its answer is whole."""
    (stage,) = played[provider]
    stage.play(DONE, broken=3)
    stage.play(DONE)
    said = ask(tokn.url, tokn.key, provider, "say it", tmp_path)
    assert (said["is_error"], said["result"]) == (False, DONE.text)


def test_it_says_that_the_balance_is_empty(tokn, tmp_path):
    """Once, with the gateway's own words: a 402 is not asked for again."""
    poor = tokn.row("key", "create", "--name", "poor", "--balance", "0.000001")
    said = ask(tokn.url, poor["key"], "openai", "say it", tmp_path)
    assert said["is_error"] is True
    assert said["result"].startswith("API Error: 402 Insufficient balance")


def test_it_talks_to_the_sandbox(tokn, tmp_path):
    """As on a machine without any provider's credentials."""
    said = ask(tokn.url, tokn.key, "tokn-sandbox", "say it", tmp_path)
    assert said["is_error"] is False
    assert said["result"].startswith("This is the tokn sandbox")
