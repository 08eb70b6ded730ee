"""Owns the one list of the routes of the admin API, and how a path finds its own."""

import re

from msgspec import Struct

from console.api.base import Route
from console.api.books import BOOKS
from console.api.calls import CALLS
from console.api.caps import CAPS
from console.api.exports import EXPORTS
from console.api.keys import KEYS
from console.api.models import MODELS
from console.api.money import MONEY
from console.api.organizations import ORGANIZATIONS
from console.api.people import PEOPLE
from console.api.pools import POOLS
from console.api.settings import SETTINGS
from console.api.statements import STATEMENTS
from console.api.topups import TOPUPS
from console.api.usage import USAGE
from console.api.webhooks import WEBHOOKS

PREFIX = "/admin/v1"
DOCUMENT = "/openapi.json"
ROUTES: tuple[Route, ...] = (
    *ORGANIZATIONS,
    *KEYS,
    *CAPS,
    *MONEY,
    *CALLS,
    *USAGE,
    *STATEMENTS,
    *EXPORTS,
    *MODELS,
    *POOLS,
    *WEBHOOKS,
    *BOOKS,
    *SETTINGS,
    *PEOPLE,
)
# With payments through Stripe.
EVERY_ROUTE: tuple[Route, ...] = (*ROUTES, *TOPUPS)
_WHOLE = frozenset(("model",))  # an id that may have slashes


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    made = [
        re.escape(part) if at % 2 == 0 else f"(?P<{part}>{'.+' if part in _WHOLE else '[^/]+'})"
        for at, part in enumerate(parts)
    ]
    return re.compile("".join(made), re.DOTALL)


_PATTERNS = tuple((_pattern(route.path), route) for route in EVERY_ROUTE)


class Found(Struct, frozen=True):
    """A route, with the values of the parts of a path."""

    route: Route
    parts: dict[str, str]


def routes(*, payments: bool) -> tuple[Route, ...]:
    """The routes of a console, those of payments where there are some."""
    return EVERY_ROUTE if payments else ROUTES


def found(method: str, path: str, *, payments: bool = False) -> Found | tuple[str, ...]:
    """A path's route; else the methods that it has, none for a path that is not one."""
    methods: list[str] = []
    for pattern, route in _PATTERNS if payments else _PATTERNS[: len(ROUTES)]:
        match = pattern.fullmatch(path)
        if match is None:
            continue
        if route.method == method:
            return Found(route, match.groupdict())
        methods.append(route.method)
    return tuple(dict.fromkeys(methods))
