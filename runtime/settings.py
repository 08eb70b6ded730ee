"""Owns configuration: `tokn.toml`, the environment, and the frozen settings that services are started with."""

from decimal import Decimal
from pathlib import Path

from msgspec import Struct


class SettingsError(Exception):
    """A configuration that cannot be used: one line that says which file, table and key, and what to do."""


class AccountSettings(Struct, frozen=True, kw_only=True):
    """One upstream account with its credentials: only workers ever hold one.

    Empty text means that it was left out. `credit_nano` None is unlimited. The AWS fields are bedrock's.
    """

    id: str
    base_url: str = ""
    api_key: str = ""
    credit_nano: int | None = None
    max_inflight: int = 256
    organization: str = ""
    project: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""
    profile: str = ""
    bearer_token: str = ""


class PoolSettings(Struct, frozen=True, kw_only=True):
    """One pool. `words_per_s` is the sandbox's pace; 0 is as fast as it goes."""

    name: str
    provider: str  # openai | anthropic | gemini | bedrock | sandbox
    rate: Decimal | None = None
    accounts: tuple[AccountSettings, ...] = ()
    words_per_s: float = 50.0
