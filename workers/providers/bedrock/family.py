"""Owns the Bedrock family: which calls go by Converse and which in a model's own format, on AWS's own accounts."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import ClassVar

from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.bedrock import is_titan_text
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.chat.request import ChatRequest
from schemas.dialects.messages.request import MESSAGES
from schemas.embeddings.request import EMBEDDINGS
from schemas.errors import invalid
from workers.answers.base import Answer
from workers.providers.base import Action, Exchange, Fault, RefusedError
from workers.providers.bedrock import embeddings, titan
from workers.providers.bedrock.auth import CredentialStore, Signer
from workers.providers.bedrock.converse import ConverseExchange
from workers.providers.bedrock.errors import RENEW_COOL_S, fault_of_answer
from workers.providers.bedrock.invoke import InvokeExchange
from workers.providers.bedrock.models import BedrockReading
from workers.providers.bedrock.request import build
from workers.providers.counts import figure
from workers.providers.embedding import wanted
from workers.providers.emulation import requests
from workers.providers.history import messages_with_calls
from workers.upstream.request import UpstreamRequest


class Bedrock:
    """Models on AWS Bedrock. AWS bills the whole answer of a stream though we hang up."""

    bills_abandoned: ClassVar[bool] = True
    tells_totals: ClassVar[bool] = False

    def __init__(self) -> None:
        self._credentials = CredentialStore()
        self._signer = Signer(self._credentials)

    async def prepare(self, accounts: Sequence[AccountSettings]) -> None:
        """Looks up the credentials of accounts that use the AWS chain, and keeps them fresh."""
        await self._credentials.prepare(accounts)

    def keep(self, accounts: Sequence[AccountSettings]) -> None:
        """Ends the chains that none of these accounts uses."""
        self._credentials.keep(accounts)

    def open(self, job: Job, model: Model, thoughts: Mapping[str, str]) -> list[Exchange]:
        """One exchange for a chat job, one a prompt for a legacy completion, one a batch for embeddings."""
        if job.dialect == EMBEDDINGS:
            return [*embeddings.exchanges(wanted(job, model), self._signer)]
        if job.dialect == MESSAGES and model.capabilities.messages:
            return [InvokeExchange(job, model, self._signer)]
        try:
            return [
                self._exchange(request, job, model, thoughts, render)
                for request, render in requests(job, model)
            ]
        except RequestError as refused:
            raise RefusedError(refused.error) from None

    def _exchange(
        self, request: ChatRequest, job: Job, model: Model, thoughts: Mapping[str, str], answer: Answer
    ) -> Exchange:
        if is_titan_text(model.upstream):
            return titan.TitanExchange(job, model, titan.build(request, job, model), answer, self._signer)
        body = build(request, job, model, thoughts)
        return ConverseExchange(job, model, body, answer, self._signer)

    def count(self, job: Job, model: Model, account: AccountSettings) -> UpstreamRequest:
        """What asks for the count of a job of Messages: of a Claude alone. Raises RefusedError, AccountError."""
        if not model.capabilities.messages:
            raise RefusedError(invalid("Bedrock counts no tokens of this model.", param="model"))
        return InvokeExchange(job, model, self._signer).counting(account)

    def counted(self, body: bytes) -> int | None:
        """The figure in its answer."""
        return figure(body, "inputTokens")

    def thought_ids(self, job: Job) -> list[str]:
        """The first call of each step of the running tool turn, if the call asks for reasoning at all."""
        if b'"reasoning' not in job.body and job.dialect != MESSAGES:
            return []
        wanted: list[str] = []
        for message in reversed(messages_with_calls(job)):
            if message.role == "user":
                break
            if message.tool_calls:
                wanted.append(message.tool_calls[0].id)
        return wanted[::-1]

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
        """What a non-2xx answer means. Credentials past their time are looked up again at once."""
        fault, expired = fault_of_answer(status, headers, body)
        if expired and self._credentials.spoil():
            return structs.replace(fault, action=Action.COOL, cool_s=RENEW_COOL_S)
        return fault

    def models(self, account: AccountSettings, today: date) -> BedrockReading:
        """A reading of the account's lists."""
        del today
        return BedrockReading(account, self._signer)
