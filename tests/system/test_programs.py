"""Owns what the programs that people use make of the gateway, unchanged but for URL and key: Codex and the AI SDK."""

import json

import pytest
from msgspec import structs

from schemas.money.pricing import TokenUsage
from tests.fakes import programs
from tests.fakes.dialects import Answer
from tests.fakes.families import PROVIDERS, config, stages
from tests.fakes.responses import NATIVE, ResponsesStage, native_toml
from tests.fakes.tokn import Tokn

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(600)]

WAYS = (*PROVIDERS, NATIVE)
MADE = "made.txt"
SHELL = Answer(
    ("Making it.",),
    TokenUsage(input=120, output=30),
    tuple((f"call_{word}", "exec_command", {"cmd": f"echo {word} >> {MADE}"}) for word in ("one", "two")),
)
LOOK = Answer(
    (),
    TokenUsage(input=120, output=30),
    tuple((f"call_{at}", "look", {"at": at}) for at in ("x", "y")),
)
SAY_AND_LOOK = structs.replace(LOOK, pieces=("Look", "ing."))
DONE = Answer(("All ", "done."), TokenUsage(input=150, output=5))
every_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def played():
    """One fake of each provider, and one that speaks Responses itself."""
    programs.install()
    with stages() as made, ResponsesStage() as native:
        yield made | {NATIVE: [native]}


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with all of them."""
    text = config(played) + native_toml(played[NATIVE][0])
    with Tokn(tmp_path_factory.mktemp("programs") / "data", text) as running:
        yield running
        assert running.audit()["ok"] is True


@every_way
def test_codex_makes_a_file_with_tools(played, tokn, tmp_path, way):
    """Two commands of one turn are run, their results go back, and its answer is printed."""
    stage = played[way][0]
    stage.play(SHELL)
    stage.play(DONE)
    done = programs.codex(tokn, tmp_path, way)
    assert (done.returncode, done.stdout.strip()) == (0, "All done."), done.stderr
    assert sorted((tmp_path / MADE).read_text().split()) == ["one", "two"]
    assert json.dumps(stage.bodies[-1]).count("exec_command") > 2


@pytest.mark.parametrize("way", ["gemini", NATIVE])
def test_codex_repeats_a_turn_whose_stream_failed(played, tokn, tmp_path, way):
    """A failure after the first words is told to it, and the next try is its answer."""
    stage = played[way][0]
    before = len(stage.bodies)
    stage.play(DONE, broken=6 if way == NATIVE else 1)
    stage.play(DONE)
    done = programs.codex(tokn, tmp_path, way)
    assert (done.returncode, done.stdout.strip()) == (0, "All done."), done.stderr
    assert len(stage.bodies) - before == 2


def test_codex_shows_that_there_is_no_money(tokn, tmp_path):
    """A 402 ends the turn with the gateway's own words."""
    poor = tokn.row("key", "create", "--name", "poor", "--balance", "0.0001")["key"]
    done = programs.codex(tokn, tmp_path, "gemini", poor)
    assert done.returncode == 1
    assert "Insufficient balance" in done.stderr


@every_way
@pytest.mark.parametrize("store", [False, None], ids=["unstored", "default"])
def test_a_tool_loop_of_the_ai_sdk(played, tokn, way, store):
    """Both calls are made with their arguments, and the answer ends the loop without an error."""
    stage = played[way][0]
    stage.play(LOOK)
    stage.play(DONE)
    made = programs.ai_sdk(tokn, way, store=store)
    assert made == {"text": "All done.", "seen": ["x", "y"], "errors": []}


@every_way
def test_the_ai_sdk_refers_to_what_was_said(played, tokn, way):
    """Left at its default it sends a reference in place of the first turn's text, which reaches the provider all the same."""
    stage = played[way][0]
    stage.play(SAY_AND_LOOK)
    stage.play(DONE)
    made = programs.ai_sdk(tokn, way, store=None)
    assert made == {"text": "All done.", "seen": ["x", "y"], "errors": []}
    told = json.dumps(stage.bodies[-1])
    assert "Looking." in told
    assert "item_reference" not in told
