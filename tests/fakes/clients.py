"""Owns the blocks of docs/clients.md that a program reads, so that its test sets what the document says and nothing else.

Such a block has the program's name after its language. One without is run by tests/system/test_docs.py.
"""

import re

from tests.fakes.tokn import ROOT

PAGE = ROOT / "docs" / "clients.md"
FENCE = re.compile(r"^```(\w+) ([a-z0-9-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
URL, KEY = "http://127.0.0.1:8000", "<TOKN_API_KEY>"
MODEL = re.compile(r"gpt-5\.1-codex|gpt-4o")


def blocks() -> dict[str, str]:
    """The blocks by their names."""
    found = FENCE.findall(PAGE.read_text())
    assert len({name for _, name, _ in found}) == len(found)
    return {name: text for _, name, text in found}


def block(name: str, url: str, key: str, model: str = "") -> str:
    """A block for a gateway and a key, and for a model in the documented one's place if one is named."""
    text = blocks()[name].replace(URL, url).replace(KEY, key)
    return MODEL.sub(model, text) if model else text


def variables(text: str) -> dict[str, str]:
    """The environment that a block of `NAME=value` lines sets."""
    return dict(line.split("=", 1) for line in text.splitlines())
