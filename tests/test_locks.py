"""The lock files say all that gets installed, since pip is told to look for nothing beside them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = [
    *ROOT.glob("*.lock"),
    *(path for name in ("tests", "tools") for path in (ROOT / name).rglob("*.lock")),
    *(ROOT / "tests").rglob("package-lock.json"),
]
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def pins(name: str) -> set[tuple[str, str]]:
    """The packages of a lock file with their versions; those that differ by platform are there more than once."""
    return set(PIN.findall((ROOT / name).read_text()))


def test_nothing_is_missing():
    """What the lock files install has every requirement met, in a version that it takes."""
    done = subprocess.run([sys.executable, "-m", "pip", "check"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_services_and_tests_run_on_the_same_versions():
    """Every pin of the services' lock file is a pin of the tests'."""
    assert pins("requirements.lock")
    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_payments_add_their_own_packages_alone():
    """The lock file for Stripe is that of the services with its package and what that needs; the services' own has none of it."""
    more = pins("requirements-stripe.lock") - pins("requirements.lock")
    assert pins("requirements.lock") <= pins("requirements-stripe.lock") <= pins("requirements-dev.lock")
    assert "stripe" in {name for name, _ in more}
    assert len(more) <= 5


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_lock_names_a_host(lock):
    """A lock file has names, versions and hashes: whence they come is the machine's affair, and who is paid theirs."""
    assert "://" not in lock.read_text()
