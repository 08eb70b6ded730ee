"""Owns payments in tests of the books: organisations that top up, through Stripe's own package and a stand-in for Stripe."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from ledger.payments.client import StripeClient
from ledger.payments.payments import Payments
from runtime.settings.stripe import StripeSettings
from schemas.admin.credentials import ManagementKey, digest
from schemas.admin.management_keys import ManagementKeyCreate
from schemas.admin.verbs import ConsoleWrite
from schemas.bus.subjects import new_id
from schemas.verbs.base import Rows, encode
from schemas.verbs.organizations import OrganizationCreate
from schemas.verbs.topups import TopupCreate
from tests.fakes.stripe import FakeStripe
from tests.fakes.stripe_events import SECRET, Paid, signed
from tests.ledger.harness import Books

CONSOLE = "https://console.example"
SCOPES = ("money:read",)
BUYER = "a buyer's key"


class Paying:
    """Payments on some books."""

    def __init__(self, books: Books, stripe: FakeStripe, payments: Payments) -> None:
        self.books = books
        self.stripe = stripe
        self.payments = payments

    async def buyer(self, name: str, *scopes: str, organization: str = "") -> ManagementKey:
        """Somebody with a credential."""
        form = ManagementKeyCreate(
            1, digest(name), name[-4:], name, scopes or SCOPES, organization=organization
        )
        made = await self.books.act("management_key_create", form)
        assert not made.problem, made
        return ManagementKey(digest(name))

    async def organization(self, id_: str) -> str:
        """An organisation with an empty wallet."""
        made = await self.books.act("org_create", OrganizationCreate(1, id_, id_.title()))
        assert not made.problem, made
        return id_

    async def create(
        self, organization: str, cents: int = 2_500, *, who: ManagementKey, key: str = ""
    ) -> Rows:
        """Asks for a top-up."""
        form = encode(TopupCreate(1, organization, cents * 10_000_000))
        return await self.payments.create(ConsoleWrite(1, "topup_create", form, who, key or new_id("idem_")))

    async def open(self, organization: str, cents: int = 2_500) -> Paid:
        """A top-up that can be paid, and its payment, which Stripe knows."""
        answer = await self.create(organization, cents, who=ManagementKey(digest(BUYER)))
        assert not answer.problem, answer
        topup = str(answer.rows[0]["id"])
        session = next(one for one in self.stripe.sessions.values() if one["client_reference_id"] == topup)
        payment = self.stripe.intent(f"pi_{topup}", topup, cents)
        return Paid(topup, session["id"], payment, cents)

    async def take(self, *bodies: bytes) -> list[Rows]:
        """Events as Stripe sends them, one after another."""
        return [await self.payments.take(signed(body)) for body in bodies]

    async def row(self, topup: str) -> dict[str, Any]:
        """A top-up's row."""
        names = "status, given_nano, returned_nano, disputed_nano, returned_debt_nano, disputed_debt_nano"
        (row,) = await self.books.store.fetch(f"SELECT {names} FROM topups WHERE id = $1", topup)
        return dict(zip(names.split(", "), row, strict=True))

    async def status(self, organization: str) -> str:
        """An organisation's."""
        return str(
            (await self.books.store.fetch("SELECT status FROM profiles WHERE id = $1", organization))[0][0]
        )

    async def wallet(self, organization: str) -> int:
        """What it has."""
        return await self.books.account(f"org:{organization}")


@contextlib.asynccontextmanager
async def paying(books: Books, settings: StripeSettings | None = None) -> AsyncIterator[Paying]:
    """Payments on some books, with a buyer."""
    books.start()
    with FakeStripe() as stripe:
        own = settings or StripeSettings(api_key=stripe.key, webhook_secret=SECRET, api_base=stripe.base_url)
        payments = Payments(books.writer, StripeClient(own, CONSOLE), books.telemetry)
        made = Paying(books, stripe, payments)
        await made.buyer(BUYER)
        try:
            yield made
        finally:
            await payments.close()
