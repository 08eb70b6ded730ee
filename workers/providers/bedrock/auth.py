"""Owns how Bedrock calls are authorised: SigV4 or a bearer token, and AWS credentials that never go stale."""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from runtime.log import get_logger
from runtime.settings.settings import AccountSettings
from schemas.errors import upstream_auth
from workers.providers.base import About, AccountError, Action, Fault
from workers.providers.scrub import FORMER_S, hide
from workers.upstream.request import UpstreamRequest

SERVICE: Final = "bedrock"  # what SigV4 signs for; the host is called bedrock-runtime
REFRESH_INTERVAL_S: Final = 60.0  # botocore renews from 15 minutes before expiry on, so no look may be late
RETRY_INTERVAL_S: Final = 5.0  # how long after a failed look calls may ask for the next one
PREPARE_MAX_S: Final = 20.0  # a worker waits so long for its first credentials, then starts without them
_EXPIRED_MARGIN_S: Final = 30  # credentials that end sooner are not signed with
_UNRESERVED: Final = "-_.~"
_RUNTIME_HOST: Final = "bedrock-runtime"
_CONTROL_HOST: Final = "bedrock"

# At debug level botocore logs whole canonical requests, session tokens included.
logging.getLogger("botocore").setLevel(logging.WARNING)


_logger = get_logger("workers.bedrock")


class _Signed(Protocol):
    access_key: str
    secret_key: str
    token: str | None


def not_ready() -> AccountError:
    """The account's credentials are not there (yet): nothing was sent, another account may serve the call."""
    return AccountError(Fault(upstream_auth(), Action.COOL, RETRY_INTERVAL_S, about=About.ACCOUNT, sure=True))


class Chain:
    """The usual AWS chain for one profile ("" is the default): environment, files, SSO, containers, instances."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._found: Credentials | None = None
        self._frozen: _Signed | None = None
        self._stale = False
        self.ended = False
        self.region = ""
        self.looked = False  # whether a lookup has ended, well or badly

    def refresh(self) -> None:
        """Finds the credentials, or renews them before they expire. Blocks; raises what botocore raises."""
        if self.ended:
            return
        found = self._found
        if found is None or self._stale:
            # A new session: files that were rewritten since are read again.
            session = Session(profile=self._profile or None)
            self.region = session.get_config_variable("region") or ""
            found, self._stale = session.get_credentials(), False
        frozen = found.get_frozen_credentials() if found else None
        self._found, self._frozen = found, frozen

    def end(self) -> None:
        """No account uses it any more: its credentials are forgotten, and none are looked up."""
        self.ended = True
        if self._frozen is not None:
            for text in (self._frozen.access_key, self._frozen.secret_key, self._frozen.token):
                hide(text or "", FORMER_S)
        self._found = self._frozen = None

    def spoil(self) -> None:
        """AWS refused what we have: the next look starts afresh."""
        self._stale = True

    def current(self) -> _Signed | None:
        """The credentials as last looked up, without any I/O; None if there are none or they have expired."""
        found = self._found
        if self.ended:
            return None
        if isinstance(found, RefreshableCredentials) and found.refresh_needed(_EXPIRED_MARGIN_S):
            return None
        return self._frozen


class CredentialStore:
    """Chains by profile, kept fresh by one thread of its own so that no call ever waits for a lookup."""

    def __init__(self) -> None:
        self._chains: dict[str, Chain] = {}
        self._lock = threading.Lock()  # of the chains there are and their thread
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def chain(self, account: AccountSettings) -> Chain:
        """The chain that an account without keys of its own uses. Starts to look its credentials up if it is new."""
        chain = self._chains.get(account.profile)
        if chain is None:
            with self._lock:
                chain = self._chains[account.profile] = Chain(account.profile)
                self._start()
        return chain

    def keep(self, accounts: Sequence[AccountSettings]) -> None:
        """Ends the chains that none of these accounts uses. The thread ends with the last one."""
        used = {account.profile for account in accounts if uses_chain(account) or not account.region}
        with self._lock:
            for profile in self._chains.keys() - used:
                self._chains.pop(profile).end()
        self._wake.set()

    def credentials(self, account: AccountSettings) -> _Signed:
        """What to sign an account's calls with. Raises AccountError if there is nothing yet."""
        if account.access_key_id:
            token = account.session_token or None
            made: _Signed = Credentials(account.access_key_id, account.secret_access_key, token)
            return made
        found = self.chain(account).current()
        if found is None:
            self._wake.set()
            raise not_ready()
        return found

    def spoil(self) -> bool:
        """Looks all chains up again, since AWS refused one; False if there is none."""
        for chain in self._chains.values():
            chain.spoil()
        self._wake.set()
        return bool(self._chains)

    async def prepare(self, accounts: Sequence[AccountSettings]) -> None:
        """Waits for the first credentials of all accounts that use a chain, at most PREPARE_MAX_S."""
        chains = [self.chain(account) for account in accounts if uses_chain(account)]
        deadline = asyncio.get_running_loop().time() + PREPARE_MAX_S
        while not all(chain.looked for chain in chains):
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=PREPARE_MAX_S)

    def _start(self) -> None:
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_fresh, name="aws-credentials", daemon=True)
            self._thread.start()

    def _keep_fresh(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(REFRESH_INTERVAL_S)
            self._wake.clear()
            if self._lacks_some():
                self._closed.wait(RETRY_INTERVAL_S)
            with self._lock:
                if not self._chains:
                    self._thread = None
                    return

    def _lacks_some(self) -> bool:
        """Looks all up, and says whether one has nothing. A frame of its own: the thread holds no chain while it waits."""
        chains = list(self._chains.values())
        for chain in chains:
            try:
                chain.refresh()
            except (BotoCoreError, OSError, ValueError) as error:
                # The class alone: messages of credential processes may hold what they printed.
                _logger.warning("aws credentials cannot be had", error=type(error).__name__)
            chain.looked = True
        return any(chain.current() is None for chain in chains if not chain.ended)


def _base(account: AccountSettings, region: str) -> str:
    return account.base_url.rstrip("/") or f"https://{_RUNTIME_HOST}.{region}.amazonaws.com"


def control_url(runtime_url: str) -> str:
    """Where an account's control requests go: AWS's own host for them, else wherever its calls go."""
    parts = urlsplit(runtime_url)
    if not parts.netloc.startswith((f"{_RUNTIME_HOST}.", f"{_RUNTIME_HOST}-")):
        return runtime_url
    return urlunsplit(parts._replace(netloc=_CONTROL_HOST + parts.netloc.removeprefix(_RUNTIME_HOST)))


def uses_chain(account: AccountSettings) -> bool:
    """Whether an account brings neither keys nor a token of its own."""
    return not (account.bearer_token or account.api_key or account.access_key_id)


class Signer:
    """Makes the URL of a call and the headers that authorise it."""

    def __init__(self, store: CredentialStore) -> None:
        self._store = store

    def call(
        self, account: AccountSettings, upstream: str, verb: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[str, dict[str, str]]:
        """URL and headers of one POST. The URL must be sent byte for byte: its path is what was signed.

        `headers` are signed with it. Raises AccountError if the account's credentials are not there.
        """
        region = self._region(account, upstream)
        url = f"{_base(account, region)}/model/{quote(upstream, safe=_UNRESERVED)}/{verb}"
        return url, self._authorised(UpstreamRequest("POST", url, dict(headers), body), account, region)

    def control(self, account: AccountSettings, path: str) -> tuple[str, dict[str, str]]:
        """URL and headers of one GET on the control host. Raises AccountError as `call` does."""
        region = self._region(account, "")
        url = control_url(_base(account, region)) + path
        request = UpstreamRequest("GET", url, {"Accept": "application/json"}, b"")
        return url, self._authorised(request, account, region)

    def _authorised(self, call: UpstreamRequest, account: AccountSettings, region: str) -> dict[str, str]:
        token = account.bearer_token or account.api_key
        if token:
            return {**call.headers, "Authorization": f"Bearer {token}"}
        request = AWSRequest(method=call.method, url=call.url, data=call.body, headers=call.headers)
        SigV4Auth(self._store.credentials(account), SERVICE, region).add_auth(request)
        return dict(request.headers.items())

    def _region(self, account: AccountSettings, upstream: str) -> str:
        if account.region:
            return account.region
        if upstream.startswith("arn:"):  # arn:partition:service:region:account:…
            return upstream.split(":", 4)[3]
        region = self._store.chain(account).region
        if not region and not account.base_url:
            raise not_ready()
        return region
