"""Owns what of an account's settings leads to its upstream: the place, and the credentials, which nobody may read."""

from pathlib import Path
from typing import Any

from msgspec import structs

from runtime.settings.secrets import read_secret
from runtime.settings.settings import AccountSettings

_CHARS_MIN = 4  # shorter ones would take ordinary words out of a message
_BESIDE: dict[str, Any] = {"credit_nano": None, "max_inflight": 1, "files": {}}  # what leads nowhere


def secrets(account: AccountSettings) -> list[str]:
    """The texts of an account that nobody outside may read."""
    keys = (account.api_key, account.secret_access_key, account.session_token, account.bearer_token)
    names = (account.organization, account.project, account.access_key_id)
    return [text for text in (*keys, *names) if len(text) >= _CHARS_MIN]


def is_same(one: AccountSettings, other: AccountSettings) -> bool:
    """Whether two settings of an account come to the same place with the same credentials."""
    return structs.replace(one, **_BESIDE) == structs.replace(other, **_BESIDE)


def reread(account: AccountSettings) -> AccountSettings | None:
    """The account with what the files of its credentials have by now; None if that is what it has, or cannot be read."""
    found: dict[str, Any] = {}
    try:
        for name, path in account.files.items():
            found[name] = read_secret(Path(path))
    except (OSError, ValueError):
        return None
    fresh = structs.replace(account, **found)
    return None if fresh == account or not all(found.values()) else fresh
