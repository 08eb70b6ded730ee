"""Owns the OpenAI family: a pass-through that changes only what docs/providers/openai.md names."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, ClassVar

from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.chat.request import CHAT, COMPLETIONS
from schemas.embeddings.request import EMBEDDINGS
from schemas.responses.request import RESPONSES
from workers.providers.base import Action, Exchange, Fault
from workers.providers.embedding import wanted
from workers.providers.openai import calling
from workers.providers.openai.embeddings import OpenAIEmbeddings
from workers.providers.openai.errors import fault
from workers.providers.openai.exchange import OpenAIExchange, ToldExchange
from workers.providers.openai.models import OpenAIReading
from workers.providers.openai.requests import Refusals

if TYPE_CHECKING:
    from workers.providers.openai.google_tokens import Tokens

_TOKEN_REFUSED = 401
_RENEW_S = 2.0  # how long an account is left alone whose token was refused: a new one is minted


class OpenAI:
    """api.openai.com and every server that speaks its protocol."""

    bills_abandoned: ClassVar[bool] = False
    tells_totals: ClassVar[bool] = False

    def __init__(self) -> None:
        self._refusals = Refusals()
        self._without_base64 = Refusals()
        self._tokens: Tokens | None = None

    async def prepare(self, accounts: Sequence[AccountSettings]) -> None:
        """Mints the tokens of accounts that show one, and keeps them fresh. Others need nothing."""
        minted = [account for account in accounts if account.auth == calling.GOOGLE]
        if minted:
            from workers.providers.openai.google_tokens import Tokens  # noqa: PLC0415  35 MB that few pools need

            self._tokens = self._tokens or Tokens()
            await self._tokens.prepare(minted)

    def keep(self, accounts: Sequence[AccountSettings]) -> None:
        """Ends the tokens that none of these accounts shows."""
        if self._tokens is not None:
            self._tokens.keep([account for account in accounts if account.auth == calling.GOOGLE])

    def open(self, job: Job, model: Model, thoughts: Mapping[str, str]) -> list[Exchange]:
        """One exchange; for a dialect that the upstream has not, whatever the emulation needs."""
        del thoughts
        if job.dialect == EMBEDDINGS:
            of = wanted(job, model)
            return [OpenAIEmbeddings(of, batch, self._without_base64) for batch in of.batches]
        if job.dialect == RESPONSES and model.capabilities.responses:
            from workers.providers.openai.responses.exchange import ResponsesExchange  # noqa: PLC0415  needed by few calls

            return [ResponsesExchange(job, model.forwards.more)]
        if job.dialect != CHAT and not (job.dialect == COMPLETIONS and model.capabilities.completions):
            from workers.providers.openai.told import tellers  # noqa: PLC0415  needed by few pools

            return [
                ToldExchange(chat, model, teller, self._refusals, self._tokens)
                for chat, teller in tellers(job, model)
            ]
        return [OpenAIExchange(job, model, self._refusals, self._tokens)]

    def thought_ids(self, job: Job) -> list[str]:
        """None: this family keeps its own reasoning."""
        del job
        return []

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
        """What a non-2xx answer means."""
        found = fault(status, headers, body)
        if status == _TOKEN_REFUSED and self._tokens is not None:
            self._tokens.spoil()
            return structs.replace(found, action=Action.COOL, cool_s=_RENEW_S)
        return found

    def models(self, account: AccountSettings, today: date) -> OpenAIReading:
        """A reading of the account's list."""
        del today
        headers = {**calling.bearer(account), "Accept": "application/json"}
        return OpenAIReading(account.base_url.rstrip("/") or calling.BASE_URL, headers)
