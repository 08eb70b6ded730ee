"""Owns how a server that speaks OpenAI's protocol is called: the URL of a job, and the headers that show whose call it is."""

from typing import Final, Protocol
from urllib.parse import quote

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.chat.request import CHAT, COMPLETIONS
from schemas.embeddings.request import EMBEDDINGS

BASE_URL: Final = "https://api.openai.com/v1"

_PATHS: Final = {CHAT: "/chat/completions", COMPLETIONS: "/completions", EMBEDDINGS: "/embeddings"}
GOOGLE: Final = "google"  # how an account shows its credential: by a token that is minted for it
_API_KEY: Final = "api-key"
_V1: Final = "/openai/v1"  # how the address of an Azure resource ends


class Tokens(Protocol):
    """Where minted tokens come from."""

    def token(self, account: AccountSettings) -> str:
        """An account's token. Raises AccountError while there is none."""
        ...


def url(account: AccountSettings, job: Job) -> str:
    """Where a job goes. Azure's older routes name the deployment and their own version."""
    base = account.base_url.rstrip("/") or BASE_URL
    if not account.api_version:
        return base + _PATHS[job.dialect]
    deployment = quote(job.upstream, safe="")
    route = f"{base.removesuffix(_V1)}/openai/deployments/{deployment}{_PATHS[job.dialect]}"
    return f"{route}?api-version={account.api_version}"


def headers(account: AccountSettings, job: Job, tokens: Tokens | None) -> dict[str, str]:
    """Whose call it is, and what comes back. Raises AccountError where a minted token is not there."""
    told = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if job.stream else "application/json",
    }
    if account.auth == _API_KEY:
        return {_API_KEY: account.api_key, **told}
    if tokens is not None and account.auth == GOOGLE:
        return {"Authorization": f"Bearer {tokens.token(account)}", **told}
    return {**bearer(account), **told}


def bearer(account: AccountSettings) -> dict[str, str]:
    """Whose account it is, where its key is shown as it is."""
    told = {}
    if account.api_key:  # a local server's may have none
        told["Authorization"] = f"Bearer {account.api_key}"
    if account.organization:
        told["OpenAI-Organization"] = account.organization
    if account.project:
        told["OpenAI-Project"] = account.project
    return told
