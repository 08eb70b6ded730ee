"""Owns the answers about top-ups where Stripe is configured, and what is said where it is not."""

from ledger.verbs.base import Read, Services
from schemas.admin.reasons import Reason
from schemas.admin.verbs import CONSOLE_TOPUP as CONSOLE_TOPUP_VERB
from schemas.admin.verbs import ConsoleWrite
from schemas.verbs import topups as verbs
from schemas.verbs.acts import ActRequest
from schemas.verbs.base import Rows
from schemas.verbs.topups import StripeEvent

_OFF = Rows(problem="this ledger has no [billing.stripe]", reason=Reason.PAYMENTS_OFF)


async def _create(services: Services, request: ConsoleWrite | ActRequest) -> Rows:
    return _OFF if services.payments is None else await services.payments.create(request)


async def _take(services: Services, event: StripeEvent) -> Rows:
    return _OFF if services.payments is None else await services.payments.take(event)


TOPUP = Read(verb=verbs.TOPUP, answer=_create)
STRIPE_EVENT = Read(verb=verbs.STRIPE_EVENT, answer=_take)
CONSOLE_TOPUP = Read(verb=CONSOLE_TOPUP_VERB, answer=_create)
