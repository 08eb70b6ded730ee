"""Owns how long a console waits for a top-up: a ledger asks Stripe meanwhile, and is not asked twice for that."""

from typing import Final

from runtime.ledger import Patience
from schemas.verbs.topups import STRIPE_S

PATIENCE: Final = Patience(total_s=STRIPE_S + 10, try_s=STRIPE_S + 10, pause_s=0.1)
