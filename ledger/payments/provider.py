"""Owns what the books know of a payment provider: what they ask it, and how it fails. Tests and `ledger.payments.client` have one."""

from typing import Protocol

from msgspec import Struct

from ledger.rules.topup_rows import Opened, Topup


class ProviderAwayError(Exception):
    """Stripe did not answer, or not as it should."""


class OtherAskedError(ProviderAwayError):
    """Stripe was asked for something else under this top-up's id before, and makes nothing more under it."""


class ForgedError(Exception):
    """What came in Stripe's name is not signed by it, or too old."""


class Payment(Struct, frozen=True, kw_only=True):
    """A payment as Stripe has it, and the top-up that it says to be for."""

    topup: str
    cents: int
    currency: str
    live: bool


class Provider(Protocol):
    """What is asked of Stripe. `live` says whether real money moves, `console_url` where payers come back to."""

    live: bool
    console_url: str

    async def open(self, topup: Topup) -> Opened:
        """Has an address made at which a top-up is paid; the same one however often. Raises ProviderAwayError."""
        ...

    async def payment(self, id_: str) -> Payment | None:
        """A payment by its id; None for one of something else than a top-up. Raises ProviderAwayError."""
        ...

    def verify(self, body: bytes, signature: str) -> None:
        """Raises ForgedError unless the signature is Stripe's, of this body, and of now."""
        ...

    async def close(self) -> None:
        """Leaves its connections."""
        ...
