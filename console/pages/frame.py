"""Owns what stands around every page: the way to the others, as far as whoever is signed in may go."""

from typing import Any, Final, Protocol

from msgspec import Struct


class Allowed(Protocol):
    """Whoever is signed in, as far as the way to pages goes."""

    def may(self, scope: str, *, deployment: bool = False) -> bool:
        """Whether a page that needs this is theirs."""
        ...


class Way(Struct, frozen=True):
    """A page that all others lead to."""

    path: str
    name: str
    needs: str
    deployment: bool = False


NAV: Final = (
    Way("/", "Overview", ""),
    Way("/keys", "Keys", "keys:read"),
    Way("/organizations", "Organisations", "keys:read"),
    Way("/usage", "Usage", "usage:read"),
    Way("/calls", "Receipts", "usage:read"),
    Way("/pools", "Pools", "pools:read", deployment=True),
    Way("/models", "Models", "catalogue:read"),
    Way("/books", "Books", "money:read", deployment=True),
    Way("/webhooks", "Webhooks", "webhooks:read"),
    Way("/settings", "Settings", ""),
)


def frame(person: Allowed | None, path: str) -> dict[str, Any]:
    """What a page's frame shows. `path` is where the page is."""
    nav = [
        (way.path, way.name)
        for way in NAV
        if person is not None and person.may(way.needs, deployment=way.deployment)
    ]
    current = "/" + path.strip("/").partition("/")[0]
    return {"nav": nav, "current": current, "home": "/", "brand": "tokn"}
