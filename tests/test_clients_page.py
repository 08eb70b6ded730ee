"""Owns the promise of docs/clients.md that each of its blocks is run by a test."""

import re

from tests.fakes.clients import PAGE, blocks
from tests.fakes.tokn import ROOT

USED = re.compile(r'\bblock\(\s*"([a-z0-9-]+)"')
UNNAMED = re.compile(r"^```(\w+)\n.+?^```$", re.MULTILINE | re.DOTALL)
CLIENTS_MIN = 10


def test_each_block_is_run():
    """A block for a program is what that program's test sets; one without a name is Python, which test_docs runs."""
    texts = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    assert {name for text in texts for name in USED.findall(text)} == blocks().keys()
    assert set(UNNAMED.findall(PAGE.read_text())) == {"python"}


def test_the_page_is_of_ten_clients():
    """Each has a heading and a block below it."""
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    assert len(sections) >= CLIENTS_MIN
    assert [section.split("\n")[0] for section in sections if "\n```" not in section] == []
