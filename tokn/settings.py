"""Owns what the command takes from the environment, and what its children get of it."""

import os

DATA_DEFAULT = ".tokn"
# What any process needs; nothing in it is a secret.
_PLAIN = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONWARNINGS",
    "PYTHONDONTWRITEBYTECODE",
    "COVERAGE_PROCESS_START",
)
# What reaching an upstream may need beside.
_NETWORK = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
)


def variable(name: str) -> str:
    """A variable, empty if it is not set."""
    return os.environ.get(name, "")


def plain_environment() -> dict[str, str]:
    """The environment of a child that never meets an upstream: settings reach it another way."""
    return _kept(_PLAIN)


def worker_environment(chains: tuple[str, ...]) -> dict[str, str]:
    """The environment of workers; `chains` are the beginnings of what their vendors' own libraries read beside."""
    return _kept((*_PLAIN, *_NETWORK, *(name for name in os.environ if name.startswith(chains))))


def _kept(names: tuple[str, ...]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}
