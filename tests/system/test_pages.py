"""Owns the public pages in a real Chromium: what people see, do and paste, and that a key stays in the page's memory."""

import base64
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.fakes.node import FOLDER, NODE, SOURCE, install_locked
from tests.fakes.tokn import ROOT, Tokn, environment, wait_for
from tests.fakes.upstream import MARK, pool_toml
from tests.fakes.watched import NARROW, WIDE, Chromium, Watched
from web.figures import NOTHING

pytestmark = [pytest.mark.system, pytest.mark.browser]

SANDBOX = '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\nwords_per_s = 0\n'
PAGES = ("/", "/docs", "/playground")
HARD = 'It\'s "quoted" `ticked` $HOME \\n\nsecond line é 😀 </script> {{x}} %s'
PICTURE = ROOT / "docs" / "playground.png"


def scripted(**script: object) -> str:
    """A message that tells the upstream how to answer."""
    told = json.dumps({"x_script": script}).encode()
    return (MARK + base64.urlsafe_b64encode(told)).decode()


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """A gateway with the sandbox, and a pool whose upstream answers as its prompt says."""
    with Tokn(tmp_path_factory.mktemp("pages") / "data", pool_toml(upstream.base_url) + SANDBOX) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def chromium():
    """One browser for all."""
    with Chromium() as running:
        yield running


def met(watched: Watched, key: str, model: str = "tokn-sandbox") -> None:
    """Fills in a key by keyboard, and chooses a model once they are listed."""
    page = watched.page
    page.fill("#f-key", key)
    page.press("#f-key", "Tab")
    page.locator(f"#f-model option[value={model}]").wait_for(state="attached")
    page.select_option("#f-model", model)


def asked(watched: Watched, prompt: str) -> dict[str, str]:
    """Sends a message, waits for its receipt, and reads the figures."""
    page = watched.page
    page.fill("#f-prompt", prompt)
    page.click("#send")
    page.locator("#receipt-box").wait_for(state="visible")
    names = ("n-cost", "n-first", "n-speed", "classes", "request-id", "state", "answer")
    return {name: page.locator(f"#{name}").inner_text() for name in names}


@pytest.mark.parametrize(
    ("path", "scheme", "width"),
    [
        *((path, scheme, WIDE) for path in PAGES for scheme in ("light", "dark")),
        *((path, "dark", NARROW) for path in PAGES if path != "/docs"),  # axe takes long over so many rows
    ],
)
def test_everybody_can_use_a_page(tokn, chromium, path, scheme, width):
    """No finding of axe, nothing is cut off, the console is silent, and nothing is loaded from elsewhere."""
    with chromium.open(tokn.url + path, scheme=scheme, width=width) as watched:
        if (path, scheme) == (
            "/docs",
            "dark",
        ):  # one macro draws all articles: their colours are those of the first
            watched.page.evaluate(
                "[...document.querySelectorAll('article')].slice(9).forEach(one => one.remove())"
            )
        assert watched.findings() == []
        assert watched.overflow() <= 0
        assert (watched.told, watched.elsewhere) == ([], [])


@pytest.mark.parametrize(("scheme", "width"), [("light", WIDE), ("dark", NARROW)])
def test_everybody_can_use_an_answer_and_an_error(tokn, chromium, scheme, width):
    """The same of the playground with an answer, its receipt open, and with an error."""
    with chromium.open(f"{tokn.url}/playground", scheme=scheme, width=width) as watched:
        met(watched, tokn.key)
        asked(watched, "hello")
        watched.page.click("#receipt-box summary")
        assert watched.findings() == []
        watched.page.fill("#f-max_tokens", "-5")
        watched.page.click("#send")
        watched.page.locator("#failure").wait_for(state="visible")
        assert watched.findings() == []
        assert watched.overflow() <= 0
        assert (watched.told, watched.elsewhere) == ([], [])


def test_an_answer_is_shown_as_it_streams(tokn, chromium, upstream):
    """Its first words are there while its last are not, and Send waits meanwhile."""
    with chromium.open(f"{tokn.url}/playground") as watched:
        met(watched, tokn.key, "priced")
        page = watched.page
        page.fill("#f-prompt", scripted(words=6, gate=True, tag="streams"))
        page.click("#send")
        wait_for(lambda: upstream.named("streams") and upstream.waiting, 20, "the upstream waits at its gate")
        assert page.locator("#send").is_disabled()
        assert page.locator("#answer").get_attribute("aria-busy") == "true"
        page.locator("#n-cost", has_text=NOTHING).wait_for()
        upstream.open_gate()
        page.locator("#answer", has_text="w0").wait_for()
        page.locator("#receipt-box").wait_for(state="visible")
        assert page.locator("#answer").inner_text().split() == [f"w{number}" for number in range(6)]
        assert page.locator("#state").inner_text() == "Done"


@pytest.mark.parametrize("stream", [True, False])
def test_the_figures_are_those_of_the_receipt(tokn, chromium, stream):
    """Cost and tokens by class, to the nano-dollar, for the call whose id the page shows."""
    with chromium.open(f"{tokn.url}/playground") as watched:
        met(watched, tokn.key, "priced")
        watched.page.set_checked("#f-stream", stream)
        shown = asked(watched, scripted(words=9, prompt=30, cached=20, reasoning=3, completion=12))
        receipt = httpx.get(
            f"{tokn.url}/v1/generations/{shown['request-id']}",
            headers={"authorization": f"Bearer {tokn.key}"},
        ).json()
        assert shown["n-cost"] == f"${receipt['cost_usd']}"
        assert shown["classes"] == "input 10 · cached 20 · output 9 · reasoning 3"
        used = receipt["tokens"]
        assert (used["input"], used["cached"], used["output"], used["reasoning"]) == (10, 20, 9, 3)
        assert json.loads(watched.page.locator("#receipt").text_content() or "") == receipt
        assert shown["n-first"].endswith(" ms")
        assert float(shown["n-speed"]) > 0
        bill = next(row for row in tokn.rows("usage") if row["request_id"] == shown["request-id"])
        assert bill["billed_nano"] == receipt["billed_nano"]


def test_stop_closes_the_upstream(tokn, chromium, upstream):
    """The upstream sees its connection close in the middle of an answer, and the receipt says that it was cancelled."""
    with chromium.open(f"{tokn.url}/playground") as watched:
        met(watched, tokn.key, "priced")
        page = watched.page
        page.fill("#f-prompt", scripted(words=2_000, pace_s=0.05, tag="stopped"))
        page.click("#send")
        page.locator("#answer", has_text="w3").wait_for()
        page.click("#stop")
        page.locator("#state", has_text="Stopped").wait_for()
        (call,) = upstream.named("stopped")
        wait_for(lambda: call.closed_at, 20, "the upstream's connection is closed")
        assert not call.finished
        page.locator("#receipt-box").wait_for(state="visible")
        assert json.loads(page.locator("#receipt").text_content() or "")["outcome"] == "cancelled"
        assert page.locator("#send").is_enabled()


def test_errors_are_shown_as_they_came(tokn, chromium):
    """Status, wait and body of a refusal, before and within a stream; markup in them is text."""
    poor = tokn.row("key", "create", "--name", "poor", "--balance", "0.000001")["key"]
    with chromium.open(f"{tokn.url}/playground") as watched:
        page = watched.page
        for key, prompt, words in (
            (poor, "hello", ["402", "insufficient_balance"]),
            (tokn.key, scripted(words=5, cut=3, pace_s=0.3), ["200", "error"]),
            (tokn.key, scripted(status=429, retry_after="1"), ["429", "retry after", "rate_limit_exceeded"]),
        ):
            met(watched, key, "priced")
            page.fill("#f-prompt", prompt)
            page.click("#send")
            page.locator("#failure").wait_for(state="visible")
            page.locator("#state", has_text="Failed").wait_for()
            shown = page.locator("#failure").inner_text()
            assert [word for word in words if word not in shown] == [], shown
        page.fill("#f-key", "tokn_" + "0" * 38)
        page.press("#f-key", "Tab")
        page.locator("#failure-title", has_text="401").wait_for()
        assert (watched.told, watched.elsewhere) == ([], [])


def test_a_key_stays_in_memory(tokn, chromium):
    """It is in no storage, cookie, address or snippet, and not there for who comes back."""
    with chromium.open(f"{tokn.url}/playground") as watched:
        met(watched, tokn.key)
        asked(watched, "hello")
        page = watched.page
        kept = page.evaluate(
            "JSON.stringify([localStorage, sessionStorage, document.cookie, location.href, history.state])"
        )
        assert tokn.key not in kept
        assert json.loads(kept)[:3] == [{}, {}, ""]
        assert page.context.cookies() == []
        assert tokn.key not in page.content()
        assert not [url for url in watched.asked if tokn.key in url]
        page.goto(f"{tokn.url}/docs")
        page.go_back()
        assert page.input_value("#f-key") == ""


@pytest.mark.parametrize("accepted", [True, False])
def test_a_key_of_a_link_is_used_once_it_is_accepted(tokn, chromium, accepted):
    """The fragment is taken off at once; what the key is called is shown, and nothing is asked with it before."""
    with chromium.open(f"{tokn.url}/playground#k={tokn.key}") as watched:
        page = watched.page
        page.locator("#offered").wait_for(state="visible")
        assert page.url == f"{tokn.url}/playground"
        assert page.locator("#offered-label").inner_text() == f"tokn_…{tokn.key[-4:]}"
        assert page.input_value("#f-key") == ""
        assert not [url for url in watched.asked if "/v1/" in url]
        page.click("#accept" if accepted else "#decline")
        page.locator("#offered").wait_for(state="hidden")
        if accepted:
            page.locator("#f-model option[value=tokn-sandbox]").wait_for(state="attached")
        assert page.input_value("#f-key") == (tokn.key if accepted else "")


def run(language: str, code: str, key: str) -> str:
    """What a snippet prints, run as it was pasted."""
    install_locked(SOURCE, FOLDER)
    commands = {
        "curl": ["bash", "-euo", "pipefail", "-c", code],
        "python": [sys.executable, "-c", code],
        "node": [str(NODE), "--input-type=module", "-e", code],
    }
    done = subprocess.run(
        commands[language],
        env=environment(TOKN_API_KEY=key),
        cwd=FOLDER,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("language", ["curl", "python", "node"])
def test_a_call_as_a_request_runs_as_pasted(tokn, chromium, upstream, language, stream):
    """In every language it sends what the form sends, whatever was typed."""
    tag = f"{language}-{stream}"
    with chromium.open(f"{tokn.url}/playground") as watched:
        met(watched, tokn.key, "priced")
        page = watched.page
        page.fill("#f-system", HARD)
        page.fill("#f-temperature", "0.5")
        page.fill("#f-max_tokens", "50")
        page.set_checked("#f-stream", stream)
        asked(watched, scripted(words=4, tag=tag))
        code = page.locator(f"#code-{language}").text_content() or ""
    assert tokn.key not in code
    assert "w3" in run(language, code, tokn.key)
    first, second = (json.loads(call.body) for call in upstream.named(tag))
    assert first == second
    assert second["messages"][0]["content"] == HARD


@pytest.mark.parametrize("language", ["curl", "Python", "Node"])
def test_the_first_call_runs_as_pasted(tokn, chromium, language):
    """The first page's snippets, with a model that can be called here; the button copies what stands there."""
    with chromium.open(tokn.url, permissions=["clipboard-read", "clipboard-write"]) as watched:
        place = watched.page.locator(f"#sample-{language.lower()}")
        code = place.locator("code").text_content() or ""
        place.locator("button.copy").click()
        place.locator("button.copy", has_text="Copied").wait_for()
        assert watched.page.evaluate("navigator.clipboard.readText()") == code
    assert '"gpt-4o"' in code  # which this gateway has
    assert "w3" in run(language.lower(), code, tokn.key)


def test_the_reference_fits_a_phone_and_paper(tokn, chromium):
    """At 360 px nothing is wider than the window; on paper nothing is folded, and the contents are left out."""
    with chromium.open(f"{tokn.url}/docs", width=NARROW) as watched:
        page = watched.page
        assert watched.overflow() <= 0
        folded = page.locator("#createChatCompletion details:not([open]) table")
        assert not folded.is_visible()
        page.emulate_media(media="print")
        folded.wait_for(state="visible")
        assert not page.locator(".contents").is_visible()


def test_pages_are_read_without_javascript(tokn, chromium):
    """The first page and the reference are whole, and the playground says what it needs."""
    for path, words in (
        ("/", "Your first call"),
        ("/docs", "createChatCompletion"),
        ("/playground", "it needs JavaScript"),
    ):
        with chromium.open(tokn.url + path, java_script_enabled=False) as watched:
            assert words in watched.page.content()
            assert watched.page.locator("button.copy").count() == 0


def test_a_call_by_keyboard_alone(tokn, chromium):
    """Past the navigation by the skip link, through the form, to the answer; the focus is always seen."""
    with chromium.open(f"{tokn.url}/playground") as watched:
        page = watched.page
        page.keyboard.press("Tab")
        assert page.locator(".skip").evaluate(
            "one => one === document.activeElement && one.getBoundingClientRect().left >= 0"
        )
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.locator("#f-key").evaluate("one => one === document.activeElement")
        page.keyboard.type(tokn.key)
        page.keyboard.press("Tab")
        page.locator("#f-model option[value=tokn-sandbox]").wait_for(state="attached")
        page.keyboard.type("tokn-sandbox")
        for _ in range(6):
            page.keyboard.press("Tab")
        assert page.locator("#send").evaluate("one => one === document.activeElement")
        assert page.locator("#send").evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.locator("#receipt-box").wait_for(state="visible")


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    return struct.unpack(">II", path.read_bytes()[16:24])


def test_the_picture_in_the_documents_is_of_this_page(tokn, chromium, tmp_path):
    """The README's picture is taken here: TOKN_TEST_PICTURES=docs puts a new one in its place."""
    folder = os.environ.get("TOKN_TEST_PICTURES")  # noqa: TID251  where to put it is for who runs the tests
    taken = (ROOT / folder if folder else tmp_path) / PICTURE.name
    with chromium.open(f"{tokn.url}/playground") as watched:
        met(watched, tokn.key)
        asked(watched, "Hello from tokn$")
        watched.page.set_viewport_size({"width": 1_160, "height": 760})
        watched.picture(taken)
    assert size(PICTURE) == size(taken)
    assert PICTURE.stat().st_size < 200_000
