"""Owns the style as a test: sizes, docstrings, banned marks, and what must never be in the tree."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("console", "edge", "ledger", "runtime", "schemas", "tokn", "tools", "web", "workers")
FILE_LINES_MAX = 400
FILE_LINES_STOP = 600
LONG_FILES_MAX = 5  # files between the two, all packages together
FUNCTION_LINES_MAX = 70
CLASS_LINES_MAX = 260  # about 250
VAGUE_NAMES = {"utils.py", "helpers.py", "common.py", "misc.py", "util.py", "helper.py"}
# Written in pieces, so that this file does not contain what it bans.
BANNED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
MACHINE = re.compile(r"/(ho" + r"me|Us" + r"ers)/[a-z]|/wo" + r"rk/|/ro" + r"ot/")
REGISTRY = re.compile(r"(registry\.npm" + r"js|pypi\." + r"org|files\.python" + r"hosted|\"resolved\":)")
ELSEWHERE = re.compile(r"\b(DES" + r"IGN|PROTO" + r"COLS|HO" + r"USE)\.md\b")
SUPPRESSION = re.compile(r"# (no" + r"qa|type: ig" + r"nore)\b(?P<rest>.*)")
REASON = re.compile(r"(: ?[A-Z]+[0-9]+(, [A-Z]+[0-9]+)*|\[[a-z-]+(, ?[a-z-]+)*\]) +(# )?\w.*")
SLEEP = re.compile(r"\btime\.sl" + r"eep\(")


def tracked(*suffixes: str) -> list[Path]:
    """The files of the tree that git knows or would take up, by suffix; all of them without one."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def in_services(path: Path) -> bool:
    return path.relative_to(ROOT).parts[0] in SERVICES


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_files_are_short():
    """No Python file has more than 600 lines, and few of the services' have more than 400."""
    lengths = {path: len(path.read_text().splitlines()) for path in tracked(".py")}
    assert not names([path for path, lines in lengths.items() if lines > FILE_LINES_STOP])
    long = [path for path, lines in lengths.items() if in_services(path) and lines > FILE_LINES_MAX]
    assert len(long) <= LONG_FILES_MAX, names(long)


def test_functions_are_short():
    """No function of a service has more than 70 lines."""
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in tracked(".py")
        if in_services(path) and "versions" not in path.parts
        for node in functions(path)
        if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]


def test_classes_are_short():
    """No class of a service has more than about 250 lines."""
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in tracked(".py")
        if in_services(path)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno + 1 > CLASS_LINES_MAX
    ]


def test_modules_say_what_they_own():
    """Every module of a service opens with a docstring."""
    modules = [path for path in tracked(".py") if in_services(path)]
    assert not names([path for path in modules if not ast.get_docstring(ast.parse(path.read_text()))])


def test_tests_state_their_property():
    """Every test has a docstring."""
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in tracked(".py")
        if path.name.startswith("test_")
        for node in functions(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]


def test_no_vague_file_names():
    """Shared code has a name that says what it is."""
    assert not names([path for path in tracked() if path.name in VAGUE_NAMES])


def test_suppressions_say_why():
    """Whoever silences a checker names the rule and, on the same line, the reason."""
    assert not [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in tracked(".py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := SUPPRESSION.search(line)) and not REASON.fullmatch(match["rest"])
    ]


@pytest.mark.parametrize(
    ("pattern", "suffixes"),
    [
        (BANNED, (".py", ".md", ".toml", ".yaml", ".mjs")),
        (MACHINE, (".py", ".md", ".toml", ".yaml", ".mjs", ".json", "")),
        (REGISTRY, (".py", ".md", ".toml", ".yaml", ".json", ".lock", "")),
        (ELSEWHERE, ()),
        (SLEEP, (".py",)),
    ],
    ids=["banned-marks", "machine-paths", "registry-hosts", "documents-elsewhere", "time-sleep"],
)
def test_nothing_unwelcome(pattern, suffixes):
    """No banned marks, paths of one machine, registries' hosts, documents that are not here, or sleeps for conditions."""
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked(*suffixes)
        if (match := pattern.search(path.read_text(errors="replace")))
        and (pattern is not SLEEP or path.name.startswith("test_"))
    ]
    assert not found
