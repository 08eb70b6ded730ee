"""Owns the Anthropic family: which calls go on as they are, and which are told to callers of other dialects."""

from collections.abc import Mapping
from datetime import date
from typing import ClassVar

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.dialects.messages.request import MESSAGES
from workers.providers.anthropic.count import COUNTED_OF_CALL, count_request
from workers.providers.anthropic.errors import fault_of_body
from workers.providers.anthropic.exchange import BASE_URL, VERSION, AnthropicExchange
from workers.providers.anthropic.models import AnthropicReading
from workers.providers.anthropic.native import NativeExchange
from workers.providers.anthropic.request import build
from workers.providers.base import Exchange, Fault
from workers.providers.counts import figure
from workers.providers.emulation import requests
from workers.upstream.request import UpstreamRequest


class Anthropic:
    """Claude on Anthropic's own API, or a server that speaks it. A call that is hung up on stops there."""

    bills_abandoned: ClassVar[bool] = False
    tells_totals: ClassVar[bool] = False

    def open(self, job: Job, model: Model, thoughts: Mapping[str, str]) -> list[Exchange]:
        """One exchange; for a legacy completion one a prompt."""
        del thoughts
        if job.dialect == MESSAGES:
            return [NativeExchange(job, model)]
        return [
            AnthropicExchange(job, build(request, job, model), render)
            for request, render in requests(job, model)
        ]

    def count(self, job: Job, model: Model, account: AccountSettings) -> UpstreamRequest:
        """What asks for the count of a job of Messages. Raises RefusedError."""
        return NativeExchange(job, model).counting(account)

    def counted(self, body: bytes) -> int | None:
        """The figure in its answer."""
        return figure(body, "input_tokens")

    def thought_ids(self, job: Job) -> list[str]:
        """None: reasoning is not sent back, see `workers.providers.anthropic.request`."""
        del job
        return []

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault:
        """What a non-2xx answer means."""
        return fault_of_body(status, headers, body)

    def models(self, account: AccountSettings, today: date) -> AnthropicReading:
        """A reading of the account's list."""
        headers = {
            "x-api-key": account.api_key,
            "anthropic-version": VERSION,
            "accept": "application/json",
        }
        return AnthropicReading(account.base_url.rstrip("/") or BASE_URL, headers, today)

    def prompt_count(self, request: UpstreamRequest) -> UpstreamRequest:
        """The call that asks how many tokens the prompt of a request has."""
        return count_request(request, COUNTED_OF_CALL)
