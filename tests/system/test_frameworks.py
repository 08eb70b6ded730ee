"""Owns what the Python frameworks that people use make of the gateway, set up as docs/clients.md says and in no other way."""

import json
from typing import Any

import pytest

from schemas.money.pricing import TokenUsage
from tests.fakes import embeddings, frameworks, openai
from tests.fakes.clients import block, variables
from tests.fakes.dialects import Answer
from tests.fakes.families import PROVIDERS, pool_toml
from tests.fakes.responses import NATIVE, every_stage, every_toml
from tests.fakes.stages import OpenAIStage
from tests.fakes.tokn import Tokn

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(600)]

LOOK = Answer(
    (),
    TokenUsage(input=120, output=30),
    tuple((f"call_{at}", "look", {"at": at}) for at in ("x", "y")),
)
DONE = Answer(("All ", "done."), TokenUsage(input=150, output=5))
PLACE = Answer((), TokenUsage(input=120, output=30), (("call_place", "final_result", {"at": "Oslo"}),))
FACTS = ["Lives in Oslo", "Keeps bees"]
LEARNT = Answer((json.dumps({"memory": [{"text": fact} for fact in FACTS]}),), TokenUsage(input=90, output=9))
LIBRARY = "library"


class LibraryStage(OpenAIStage):
    """OpenAI, where texts are embedded between the answers that are queued."""

    provider = LIBRARY

    def _answer(self, received: openai.Received) -> openai.Reply:
        if received.path == "/v1/embeddings":
            return openai.answer(received)
        return super()._answer(received)


@pytest.fixture(scope="module")
def played():
    """One fake of each provider, one that speaks Responses itself, and one that embeds."""
    frameworks.install()
    with every_stage() as made, LibraryStage() as library:
        yield made | {LIBRARY: [library]}


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with all of them; OpenAI's own ids are those of the one that embeds."""
    text = pool_toml(LIBRARY, "openai", [played[LIBRARY][0].account])
    text += every_toml(played)
    with Tokn(tmp_path_factory.mktemp("frameworks") / "data", text) as running:
        yield running
        assert running.audit()["ok"] is True


def ways(*routes: str) -> list[tuple[str, str, bool]]:
    """Each route on each upstream, plain and streamed."""
    return [
        (route, way, stream)
        for route in routes
        for way in (*PROVIDERS, *([NATIVE] if route == "responses" else []))
        for stream in (False, True)
    ]


def looped(played: Any, asked: list[tuple[str, str, bool]], make: Any) -> list[dict[str, Any]]:
    """The steps of so many loops, with what each upstream will say."""
    for _, way, _ in asked:
        played[way][0].play(LOOK)
        played[way][0].play(DONE)
    return [make(*one) for one in asked]


def test_langchain_loops_with_tools(played, tokn, tmp_path):
    """Over each route, plain and streamed: both calls are made, and the last answer has its text and the family's tokens."""
    asked = ways("chat", "responses", "messages")
    steps = looped(
        played,
        asked,
        lambda route, way, stream: {
            "code": block("langchain", tokn.url, tokn.key, way),
            "use": route,
            "stream": stream,
        },
    )
    made = frameworks.drive("langchain_loop", steps, tmp_path)
    expected = {"text": "All done.", "seen": ["x", "y"], "usage": [150, 5]}
    assert {one: said for one, said in zip(asked, made, strict=True) if said != expected} == {}


def test_langchain_embeds(tokn, tmp_path):
    """By default it sends token ids, and with the documented setting texts."""
    code = block("langchain", tokn.url, tokn.key)
    texts = ["the sea", "Grüße"]
    steps = [{"code": code, "use": "vectors", "texts": texts}]
    steps.append(steps[0] | {"check_embedding_ctx_length": False})
    by_ids, by_texts = frameworks.drive("langchain_loop", steps, tmp_path)
    assert by_texts == [embeddings.vector(text, 1_536) for text in (*texts, texts[0])]
    ids = [list(text.encode()) for text in (*texts, texts[0])]
    assert by_ids == [pytest.approx(embeddings.vector(one, 1_536)) for one in ids]


def test_pydantic_ai_loops_with_tools(played, tokn, tmp_path):
    """Over each route, plain and streamed, with the tokens of both turns."""
    asked = ways("chat", "responses", "messages")
    steps = looped(
        played,
        asked,
        lambda route, way, stream: {
            "code": block("pydantic-ai", tokn.url, tokn.key, way),
            "use": route,
            "stream": stream,
        },
    )
    made = frameworks.drive("pydantic_ai_loop", steps, tmp_path)
    expected = {"text": "All done.", "seen": ["x", "y"], "usage": [270, 35]}
    assert {one: said for one, said in zip(asked, made, strict=True) if said != expected} == {}


def test_pydantic_ai_gets_typed_answers(played, tokn, tmp_path):
    """It has the model call a tool of the type that is wanted."""
    asked = ways("chat", "responses", "messages")
    for _, way, _ in asked:
        played[way][0].play(PLACE)
    steps = [
        {
            "code": block("pydantic-ai", tokn.url, tokn.key, way),
            "use": route,
            "stream": stream,
            "typed": True,
        }
        for route, way, stream in asked
    ]
    made = frameworks.drive("pydantic_ai_loop", steps, tmp_path)
    expected = {"text": "Oslo", "seen": [], "usage": [120, 30]}
    assert {one: said for one, said in zip(asked, made, strict=True) if said != expected} == {}


def test_the_agents_sdk_loops_with_tools(played, tokn, tmp_path):
    """Its default route and the environment alone, plain and streamed."""
    asked = ways("responses")
    steps = looped(played, asked, lambda _, way, stream: {"model": way, "stream": stream})
    env = variables(block("agents-sdk", tokn.url, tokn.key))
    made = frameworks.drive("agents_loop", steps, tmp_path, **env)
    expected = {"text": "All done.", "seen": ["x", "y"], "usage": [270, 35]}
    assert {one: said for one, said in zip(asked, made, strict=True) if said != expected} == {}


def test_mem0_remembers(played, tokn, tmp_path):
    """With its default models and with each family's: facts are drawn from what was said, kept, and found again by its words."""
    asked = [LIBRARY, *PROVIDERS]
    for way in asked:
        played[way][0].play(LEARNT)
    steps = [
        {"code": "" if way == LIBRARY else block("mem0-models", tokn.url, tokn.key, way)} for way in asked
    ]
    env = variables(block("mem0", tokn.url, tokn.key))
    made = frameworks.drive("mem0_memory", steps, tmp_path, **env)
    expected = {"added": FACTS, "found": FACTS[1:]}  # texts that differ have vectors that differ, at a fake
    assert {one: said for one, said in zip(asked, made, strict=True) if said != expected} == {}


@pytest.mark.parametrize("way", PROVIDERS)
def test_llm_loops_with_tools(played, tokn, tmp_path, way):
    """The command line prints the answer after both calls were made; without a stream, too."""
    (tmp_path / "extra-openai-models.yaml").write_text(block("llm", tokn.url, tokn.key, way))
    env = {"LLM_USER_PATH": str(tmp_path)}
    done = frameworks.program("llm", "keys", "set", "tokn", "--value", tokn.key, home=tmp_path, **env)
    assert done.returncode == 0, done.stderr
    look = 'def look(at: str) -> str:\n    open("seen.txt", "a").write(at)\n    return f"seen {at}"\n'
    for more in ((), ("--no-stream",)):
        played[way][0].play(LOOK)
        played[way][0].play(DONE)
        asked = ("-m", "tokn-gpt", "--functions", look, *more, "Look at x and y.")
        done = frameworks.program("llm", *asked, home=tmp_path, **env)
        assert (done.returncode, done.stdout.strip()) == (0, "All done."), done.stderr
    assert sorted((tmp_path / "seen.txt").read_text()) == ["x", "x", "y", "y"]
