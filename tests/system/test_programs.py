"""Owns what the programs that people use make of the gateway, unchanged but for URL and key: coding agents and the AI SDK."""

import json

import pytest
from msgspec import structs

from schemas.money.pricing import TokenUsage
from tests.fakes import programs
from tests.fakes.dialects import Answer
from tests.fakes.families import PROVIDERS
from tests.fakes.responses import NATIVE, WAYS, every_stage, every_toml
from tests.fakes.tokn import Tokn

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(600)]

MADE = "made.txt"
PATCH = f"*** Begin Patch\n*** Update File: {MADE}\n@@\n first\n-old\n+new\n*** End Patch"


def shell(tool: str, argument: str, **more: str) -> Answer:
    """Two commands at once, by the tool that a program has for them."""
    commands = {word: {argument: f"echo {word} >> {MADE}", **more} for word in ("one", "two")}
    calls = tuple((f"call_{word}", tool, arguments) for word, arguments in commands.items())
    return Answer(("Making it.",), TokenUsage(input=120, output=30), calls)


SHELL = shell("exec_command", "cmd")
EDIT = Answer(
    (),
    TokenUsage(input=120, output=30),
    (("call_edit", "exec_command", {"cmd": f"apply_patch <<'EOF'\n{PATCH}\nEOF"}),),
)
LOOK = Answer(
    (),
    TokenUsage(input=120, output=30),
    tuple((f"call_{at}", "look", {"at": at}) for at in ("x", "y")),
)
SAY_AND_LOOK = structs.replace(LOOK, pieces=("Look", "ing."))
DONE = Answer(("All ", "done."), TokenUsage(input=150, output=5))
HELLO = structs.replace(
    DONE, usage=TokenUsage(input=8, output=5)
)  # to one word: 150 would be a lie, and three cool
BROKEN = {"gemini": 1, NATIVE: 6}  # after its first words
every_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def played():
    """One fake of each provider, and one that speaks Responses itself."""
    programs.install()
    with every_stage() as made:
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with all of them."""
    text = every_toml(played)
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


@every_way
def test_codex_edits_a_file(played, tokn, tmp_path, way):
    """A patch of a file that was there is applied, and nothing else of it changes."""
    (tmp_path / MADE).write_text("first\nold\nlast\n")
    stage = played[way][0]
    stage.play(EDIT)
    stage.play(DONE)
    done = programs.codex(tokn, tmp_path, way)
    assert (done.returncode, done.stdout.strip()) == (0, "All done."), done.stderr
    assert (tmp_path / MADE).read_text() == "first\nnew\nlast\n"


@every_way
@pytest.mark.parametrize("ran", [False, True], ids=["first turn", "after commands"])
def test_codex_repeats_a_turn_whose_stream_failed(played, tokn, tmp_path, way, ran):
    """A failure after the first words is told to it, and the next try is its answer; what it ran before is not run again."""
    stage = played[way][0]
    before = len(stage.bodies)
    if ran:
        stage.play(SHELL)
    stage.play(DONE, broken=BROKEN.get(way, 3))
    stage.play(DONE)
    done = programs.codex(tokn, tmp_path, way)
    assert (done.returncode, done.stdout.strip()) == (0, "All done."), done.stderr
    assert not ran or sorted((tmp_path / MADE).read_text().split()) == ["one", "two"]
    assert len(stage.bodies) - before == 2 + ran


@every_way
def test_codex_shows_that_there_is_no_money(played, tokn, tmp_path, way):
    """A 402 ends the turn with the gateway's own words, and no provider is asked."""
    poor = tokn.row("key", "create", "--name", f"poor-{way}", "--balance", "0.0001")["key"]
    before = len(played[way][0].bodies)
    done = programs.codex(tokn, tmp_path, way, poor)
    assert done.returncode == 1
    assert "Insufficient balance" in done.stderr
    assert len(played[way][0].bodies) == before


AGENTS = {
    "opencode": (programs.opencode, shell("bash", "command", description="says it")),
    "continue": (programs.continue_cli, shell("Bash", "command")),
}


@pytest.mark.parametrize("way", PROVIDERS)
@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_makes_a_file_over_chat(played, tokn, tmp_path, way, name):
    """Two commands of one turn are run, their results go back, and its answer is printed."""
    stage = played[way][0]
    program, commands = AGENTS[name]
    stage.play(commands)
    stage.play(DONE)
    done = program(tokn, tmp_path, way)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1:] == ["All done."], done.stderr
    assert sorted((tmp_path / MADE).read_text().split()) == ["one", "two"]


@every_way
@pytest.mark.parametrize("store", [False, None], ids=["unstored", "default"])
def test_a_tool_loop_of_the_ai_sdk(played, tokn, way, store):
    """Both calls are made with their arguments, and the answer ends the loop without an error; so do the document's lines."""
    stage = played[way][0]
    stage.play(HELLO)
    stage.play(LOOK)
    stage.play(DONE)
    first, made = programs.ai_sdk(tokn, way, store=store)
    assert first == "All done."
    assert made == {"text": "All done.", "seen": ["x", "y"], "errors": []}


@every_way
def test_the_ai_sdk_refers_to_what_was_said(played, tokn, way):
    """Left at its default it sends a reference in place of the first turn's text, which reaches the provider all the same."""
    stage = played[way][0]
    stage.play(HELLO)
    stage.play(SAY_AND_LOOK)
    stage.play(DONE)
    first, made = programs.ai_sdk(tokn, way, store=None)
    assert first == "All done."
    assert made == {"text": "All done.", "seen": ["x", "y"], "errors": []}
    told = json.dumps(stage.bodies[-1])
    assert "Looking." in told
    assert "item_reference" not in told


@pytest.mark.parametrize("way", PROVIDERS)
@pytest.mark.parametrize("sdk", [programs.openai_sdk, programs.anthropic_sdk], ids=["openai", "anthropic"])
def test_a_tool_loop_of_the_vendors_own_sdk(played, tokn, way, sdk):
    """The documented lines print their answer; then both calls come out of the SDK's accumulator, and the family's tokens."""
    stage = played[way][0]
    stage.play(HELLO)
    stage.play(LOOK)
    stage.play(DONE)
    first, made = sdk(tokn, way)
    assert first == "All done."
    assert made == {"text": "All done.", "seen": ["x", "y"], "usage": [150, 5]}
