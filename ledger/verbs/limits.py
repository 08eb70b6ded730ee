"""Owns the answers about rate limits: the act that sets them."""

from ledger.acts import limits as acts
from ledger.verbs.acts import by_itself
from ledger.verbs.base import Acts
from schemas.verbs import limits as verbs

LIMITS_SET = Acts(verb=verbs.LIMITS_SET, command=by_itself(acts.LIMITS_SET))
