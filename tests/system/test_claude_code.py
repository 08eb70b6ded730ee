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
def test_it_edits_a_file(played, tokn, tmp_path, provider):
    """A file is read beside a command, then one line of it replaced: three turns, in which nothing else of it changes."""
    note = tmp_path / "note.txt"
    note.write_text("first\nold\nlast\n")
    (stage,) = played[provider]
    look = ("call_read", "Read", {"file_path": str(note)})
    say = ("call_say", "Bash", {"command": "echo ho", "description": "says it"})
    change = ("call_edit", "Edit", {"file_path": str(note), "old_string": "old", "new_string": "new"})
    stage.play(Answer((), USAGE, (look, say)))
    stage.play(Answer(("Now.",), USAGE, (change,)))
    stage.play(DONE)
    said = ask(tokn.url, tokn.key, provider, "edit the file", tmp_path)
    assert (said["is_error"], said["result"], said["num_turns"]) == (False, DONE.text, 4)
    assert note.read_text() == "first\nnew\nlast\n"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("ran", [False, True], ids=["first turn", "after a command"])
def test_it_asks_again_after_a_failure(played, tokn, tmp_path, provider, ran):
    """A stream that fails halfway is asked for once more, and its answer is whole; what it ran before is not run again."""
    (stage,) = played[provider]
    before = len(stage.bodies)
    command = {"command": f"echo hi >> {tmp_path}/made.txt", "description": "says it"}
    if ran:
        stage.play(Answer(("Running.",), USAGE, (("call_0", "Bash", command),)))
    stage.play(DONE, broken=3)
    stage.play(DONE)
    said = ask(tokn.url, tokn.key, provider, "say it", tmp_path)
    assert (said["is_error"], said["result"]) == (False, DONE.text)
    assert not ran or (tmp_path / "made.txt").read_text() == "hi\n"
    assert len(stage.bodies) - before == 2 + ran


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_says_that_the_balance_is_empty(played, tokn, tmp_path, provider):
    """Once, with the gateway's own words: a 402 is not asked for again, and no provider is asked."""
    poor = tokn.row("key", "create", "--name", f"poor-{provider}", "--balance", "0.000001")
    before = len(played[provider][0].bodies)
    said = ask(tokn.url, poor["key"], provider, "say it", tmp_path)
    assert said["is_error"] is True
    assert said["result"].startswith("API Error: 402 Insufficient balance")
    assert len(played[provider][0].bodies) == before


def test_it_talks_to_the_sandbox(tokn, tmp_path):
    """As on a machine without any provider's credentials."""
    said = ask(tokn.url, tokn.key, "tokn-sandbox", "say it", tmp_path)
    assert said["is_error"] is False
    assert said["result"].startswith("This is the tokn sandbox")
