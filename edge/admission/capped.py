"""Owns what a caller is told whose call does not fit into a spend cap: whose cap, its figures, what would fit, and until when."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from schemas.asked import Ask
from schemas.chat.priced import RequestError
from schemas.errors import cap_reached
from schemas.money.amounts import nano_to_usd
from schemas.verbs.calls import CapFigures, Refusal

CAP_HEADER: Final = b"x-tokn-cap"
RESETS_HEADER: Final = b"x-tokn-cap-resets"  # unix seconds; a cap of all time has none
_KEY: Final = "key"  # a cap's scope
_PERIODS: Final[Mapping[str, str]] = {"day": "daily", "week": "weekly", "month": "monthly", "total": "total"}


def capped(refusal: Refusal, cap: CapFigures, ask: Ask) -> RequestError:
    """The 402, with its headers. What an organisation has spent is not for each of its keys to know."""
    period = _PERIODS.get(cap.period, cap.period)
    required = f"requires up to {nano_to_usd(refusal.required_nano)} USD"
    if cap.scope == _KEY:
        text = (
            f"Spend cap reached: the {period} cap of this key is {nano_to_usd(cap.limit_nano)} USD ({cap.zone}); "
            f"{nano_to_usd(cap.spent_nano)} USD is spent and {nano_to_usd(cap.held_nano)} USD held by calls in flight; "
            f"this call {required}."
        )
    else:
        text = f"Spend cap reached: the organisation's {period} cap ({cap.zone}) does not cover this call, which {required}."
    if refusal.fitting_limit > 0 and ask.limit is not None:
        text += f" With a limit of {refusal.fitting_limit} output tokens it would fit: set {ask.limit_name} to at most that."
    headers = [(CAP_HEADER, cap.id.encode())]
    if cap.resets_s:
        text += f" It resets at {datetime.fromtimestamp(cap.resets_s, UTC):%Y-%m-%dT%H:%M:%SZ}."
        headers.append((RESETS_HEADER, b"%d" % cap.resets_s))
    else:
        text += " It does not reset: ask the key's issuer to raise it."
    return RequestError(cap_reached(text), tuple(headers))
