"""Owns the documents' own references: a link leads somewhere, and a test that is cited as proof is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CITED = re.compile(r"`([a-z_/]+/test_\w+\.py)`")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings: lower case, without marks, words joined by hyphens."""
    names = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w -]", "", name.lower()).strip().replace(" ", "-") for name in names}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a document names a file that exists, and a heading that it has."""
    lost = []
    for link in LINK.findall(page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_proofs_exist() -> None:
    """Every test file that SECURITY.md cites is under tests/."""
    cited = set(CITED.findall((ROOT / "SECURITY.md").read_text()))
    assert len(cited) > 10
    assert [path for path in sorted(cited) if not (ROOT / "tests" / path).is_file()] == []
