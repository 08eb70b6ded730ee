"""Owns the forms that keys and organisations share: limits, caps, money given and taken."""

from typing import Any, Final

from console.pages.lengths import ends_in_s
from console.pages.visit import FormError, Visit
from schemas.bus.subjects import new_id
from schemas.verbs.base import VERSION
from schemas.verbs.caps import CapCreate, NewCap
from schemas.verbs.money import Post

CAP_PERIODS: Final = ("day", "week", "month", "total")
# What people choose, the act behind it, and its sign.
MONEY: Final = {
    "deposit": ("deposit", 1),
    "promotional": ("promotional", 1),
    "goodwill": ("goodwill", 1),
    "credit": ("adjustment", 1),
    "debit": ("adjustment", -1),
    "deposit_return": ("deposit_return", 1),
}
MONEY_NAMES: Final = (
    ("deposit", "Deposit: money that came in"),
    ("promotional", "Promotional credit, which may end"),
    ("goodwill", "Goodwill"),
    ("credit", "Adjustment up"),
    ("debit", "Adjustment down"),
    ("deposit_return", "Deposit given back"),
)


def limit_figures(visit: Visit) -> tuple[int, int, int]:
    """Calls a minute, tokens a minute and calls in flight; 0 for none. Raises FormError."""
    rpm, tpm, in_flight = (visit.number(name, empty=0) or 0 for name in ("rpm", "tpm", "in_flight"))
    return rpm, tpm, in_flight


def cap_form(visit: Visit, *, key_id: str = "", organization: str = "") -> CapCreate:
    """A new cap as it was typed. Raises FormError."""
    period = visit.text("period")
    if period not in CAP_PERIODS:
        raise FormError("period", "Choose one of these.")
    alert = visit.number("alert_percent", least=1, most=100, empty=80) or 80
    cap = NewCap(new_id("cap_"), period, visit.usd("limit_usd"), visit.text("timezone"), alert)
    return CapCreate(VERSION, cap, key_id=key_id, organization=organization)


def money_act(visit: Visit, owner: str) -> tuple[str, Any]:
    """The act that gives to a balance or takes from it, and its form. Raises FormError."""
    kind = visit.text("kind")
    if kind not in MONEY:
        raise FormError("kind", "Choose one of these.")
    act, sign = MONEY[kind]
    lasts = ends_in_s(visit.text("expires_in"), "expires_in")
    if lasts and kind != "promotional":
        raise FormError("expires_in", "Only promotional credit ends.")
    form = Post(
        VERSION,
        owner,
        sign * visit.usd("amount_usd"),
        visit.needed("reason", "A reason"),
        visit.text("reference"),
        expires_in_s=lasts,
    )
    return act, form
